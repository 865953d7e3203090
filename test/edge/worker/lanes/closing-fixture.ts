/**
 * A process in which a compiled guest has run, and whose watchdog is kept looking until it has ended: its code is optimised by then, and
 * stopped in the middle of that by a fault if it does not end by itself. Ends with 0.
 */

import { resolve } from 'node:path'

import { controlBytes, ControlHeader } from '../../../../src/edge/worker/lanes/control.ts'
import { startThread, threadEnd } from '../../../../src/edge/worker/lanes/thread.ts'
import { answer, request, startRuntime } from '../runtime/harness.ts'

/** So long that the watchdog's code is optimised. */
const warmMs = 500
/** So many that it is hardly ever in code of another kind. */
const slots = 20_000
const watchdogs = 8

const runtime = await startRuntime(1)
const guest = await runtime.compiled(await runtime.guest('hello-c'), 'O0')
answer(await runtime.invoker.invoke(guest, request('/')))

const entry = resolve(import.meta.dir, '../../../../src/main.ts')
for (let each = 0; each < watchdogs; each += 1) {
  const control = new SharedArrayBuffer(controlBytes(slots))
  const header = new ControlHeader(control)
  const watchdog = startThread(entry, {
    edgefn_thread: 'watchdog',
    control,
    threads: slots,
    running: null,
  })
  while (header.nextWakeMs === 0) await Bun.sleep(1)
  const warmAt = performance.now() + warmMs
  while (performance.now() < warmAt) header.wakeNow()
  let ended = false
  header.close()
  void threadEnd(watchdog).then(() => (ended = true))
  while (!ended) {
    for (let times = 0; times < 1_000; times += 1) header.wakeNow()
    await new Promise(setImmediate)
  }
}
await runtime.close()
process.exit(0)
