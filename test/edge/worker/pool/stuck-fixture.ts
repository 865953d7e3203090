/** A process whose executor thread has no watchdog, so that its guest is never stopped; prints what its worker would be told. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { openLibc } from '../../../../ffi/libc.ts'
import { RunningFile } from '../../../../src/edge/running.ts'
import { StatsFile } from '../../../../src/edge/stats.ts'
import type { StuckGuest } from '../../../../src/edge/worker/lanes/executor-thread.ts'
import { ThreadSet } from '../../../../src/edge/worker/lanes/thread-set.ts'
import { toEdgefnError } from '../../../../src/errors.ts'
import { TestCompiler } from '../../compile/test-compiler.ts'
import { hostOptionsIn } from '../runtime/host-options.ts'
import { NONE_ASLEEP } from '../../../../src/edge/worker/lanes/thread-set.ts'
import { request, startRuntime } from '../runtime/harness.ts'

const directory = mkdtempSync(join(tmpdir(), 'edgefn-stuck-'))
const stats = new StatsFile(join(directory, 'stats'))
const lost = Promise.withResolvers<StuckGuest | null>()
const threads = new ThreadSet({
  entry: resolve(import.meta.dir, '../../../../src/main.ts'),
  max: 1,
  stats,
  host: hostOptionsIn(directory),
  running: { path: join(directory, 'running'), seats: 2, seat: 1 },
  compile_key: new TestCompiler(directory).publicKey,
  nowMs: openLibc().monotonicMs,
  fetch_allow_private: [],
  onDefect: (_reason, stuck) => lost.resolve(stuck),
})
const modules = await startRuntime(1)
const fn = await modules.guest('misbehave-c', { max_execution_ms: 200, version: 3 as never })
const from = performance.now()
// `open` would start the watchdog too.
const code = await threads
  .free('key', 1, NONE_ASLEEP)
  ?.call(fn, 1, request('/loop'))
  .catch((thrown: unknown) => toEdgefnError(thrown).code)
const ms = performance.now() - from
const stuck = await lost.promise
const defects = stats.getWorker('guest_stop_defects')
const running = new RunningFile(join(directory, 'running'), 2).read(1)
rmSync(directory, { recursive: true, force: true })
await modules.close()
process.stdout.write(JSON.stringify({ code, ms, stuck, defects, slot: fn.slot, running }), () =>
  process.exit(0),
)
