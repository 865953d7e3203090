/**
 * Proves on this machine's own libwasmedge that compiled guests can be stopped and that their faults are caught, with the very
 * parts that workers use (DESIGN section 3). Runs in a compile process: when it fails, it may take the process with it.
 */

import { readFileSync, rmSync } from 'node:fs'

import { compileModule } from '../../../ffi/compiler.ts'
import { handle, RESULT } from '../../../ffi/handles.ts'
import type { InstanceHandle, MemoryHandle } from '../../../ffi/handles.ts'
import type { Libc } from '../../../ffi/libc.ts'
import { openLibc } from '../../../ffi/libc.ts'
import type { Wasmedge } from '../../../ffi/library.ts'
import { GuestMemory } from '../../../ffi/memory.ts'
import type { StoppableExecutor } from '../../../ffi/native.ts'
import { Native } from '../../../ffi/native.ts'
import { HOLDER_MODULE, park } from '../../../ffi/parked-holder.ts'
import { readValueTypes, ValueArray } from '../../../ffi/values.ts'
import { PAGE_OF_POLLS_BYTES, POLL_PAGE_OFFSET } from '../../wasm/rewrite/polls.ts'
import { MEMORY_EXPORT, START_EXPORT } from '../../wasm/rewrite/safeguard.ts'
import { CallSlot, controlBytes } from '../worker/lanes/control.ts'
import { startThread } from '../worker/lanes/thread.ts'
import { compileGuest } from './compile.ts'
import type { CompileJob } from './job.ts'

/** Milliseconds a loop is given, and may go on beyond: that it is stopped at all is the point, on the busiest machine too. */
const loopMs = 20
const stopMsMax = 10_000

/**
 * Exports `loop` (for ever), `recurse` (for ever, also through a table), `divide` (by zero), `reach` (out of bounds), and
 * `answer`, which is 7 when the start function has run.
 */
const MODULE =
  '0061736d010000000108026000006000017f03070600010101010104040170000105030100010606017f' +
  '0141000b073506066d656d6f72790200046c6f6f70000107726563757273650002066469766964650003' +
  '057265616368000406616e7377657200050801000907010041000b01020a3e060600410724000b100003' +
  '40230041016a24000c000b41000b0a00100241001101006a0b0a00410141002802006d0b090041808004' +
  '2802000b040023000b'

/** Compiles the holder into the job's output and passes when all is well; throws what is not. */
export async function selfTest(
  lib: Wasmedge,
  job: Extract<CompileJob, { kind: 'self_test' }>,
): Promise<void> {
  const { stop_mode: stopMode, output } = job
  const interruptible = stopMode === 'interruptible'
  compileModule(lib, HOLDER_MODULE, output, { level: 'O0', interruptible: false })
  const native = new Native(lib)
  park(native, new Uint8Array(readFileSync(output)))
  const bytes = new Uint8Array(Buffer.from(MODULE, 'hex'))
  const control = new SharedArrayBuffer(controlBytes(1))
  const watchdog = startThread(Bun.main, {
    edgefn_thread: 'watchdog',
    control,
    threads: 1,
    running: null,
  })
  const failed = new Promise<never>((_resolve, reject) => watchdog.on('error', reject))
  for (const level of ['O0', 'O2'] as const) {
    const path = `${output}.${level}.test`
    compileGuest(lib, { bytes, level, stopMode, output: path })
    const compiled = new Uint8Array(readFileSync(path))
    rmSync(path)
    const trial = new Trial(native, compiled, new CallSlot(control, 0), !interruptible)
    await Promise.race([failed, Promise.resolve().then(() => trial.run())])
  }
}

class Trial {
  readonly #native: Native
  readonly #libc: Libc = openLibc()
  readonly #slot: CallSlot
  readonly #executor: StoppableExecutor
  readonly #instance: InstanceHandle
  readonly #pollPage: number

  constructor(native: Native, compiled: Uint8Array<ArrayBuffer>, slot: CallSlot, polls: boolean) {
    this.#native = native
    this.#slot = slot
    const store = native.createStore()
    this.#executor = native.createExecutor(store, 1)
    const module = native.loadModule(compiled, true)
    this.#instance = native.instantiate(this.#executor.executor, store, module)
    const memory = handle(native.findMemory(this.#instance, MEMORY_EXPORT), 'MemoryInstance')
    this.#pollPage = polls ? this.#map(memory) : 0
  }

  #map(memory: MemoryHandle): number {
    const page = new GuestMemory(this.#native.lib, this.#libc).baseOf(memory) + POLL_PAGE_OFFSET
    this.#libc.mapZeros(page, PAGE_OF_POLLS_BYTES)
    return page
  }

  /** The order matters little; the loop comes last because it spends the executor. */
  run(): void {
    this.#expect(START_EXPORT, RESULT.success, 0)
    if (this.#expect('answer', RESULT.success, 1) !== 7)
      throw new Error('A compiled call is wrong.')
    this.#expect('divide', RESULT.divide_by_zero, 1)
    this.#expect('reach', RESULT.out_of_bounds, 1)
    this.#expect('recurse', RESULT.unreachable, 1)
    this.#stopLoop()
  }

  #expect(name: string, expected: number, results: number): number {
    const { code, value } = this.#invoke(name, results)
    if (code === expected) return value
    throw new Error(`The compiled ${name} ended with ${code} instead of ${expected}.`)
  }

  #stopLoop(): void {
    const startedMs = this.#libc.monotonicMs()
    this.#slot.begin(startedMs + loopMs, this.#executor.stop)
    this.#slot.watch(this.#pollPage)
    const { code } = this.#invoke('loop', 1)
    const won = this.#slot.end()
    const lateMs = this.#libc.monotonicMs() - startedMs - loopMs
    if (won || code === RESULT.success || lateMs > stopMsMax) {
      throw new Error(`A compiled loop was not stopped in time (${Math.round(lateMs)} ms late).`)
    }
  }

  #invoke(name: string, results: number): { code: number; value: number } {
    const fn = handle(this.#native.findFunction(this.#instance, name), 'FunctionInstance')
    const types = readValueTypes(this.#native.lib)
    const values = new ValueArray(types, Array<'i32'>(results).fill('i32'))
    const nothing = new ValueArray(types, [])
    const code = this.#native.invoke(this.#executor.executor, fn, nothing, values)
    return { code, value: values.getI32(0) }
  }
}
