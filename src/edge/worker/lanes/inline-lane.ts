/**
 * The inline lane: a runner on the HTTP thread itself (DESIGN section 2). The watchdog watches it as it does the executor
 * threads, but a call has only `inlineMsMax` there, whatever its function's own limit.
 */

import { openLibc } from '../../../../ffi/libc.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { WorkerFunction } from '../../ipc.ts'
import { RunningFile } from '../../running.ts'
import type { RunningSeat } from '../../running.ts'
import type { GuestRequest } from '../call.ts'
import { hostLog } from '../host/create-host.ts'
import type { HostOptions } from '../host/host.ts'
import { inlineCleanInstancesMax } from '../runtime/clean-instances.ts'
import { CompiledCode } from '../runtime/compiled-code.ts'
import { Engine } from '../runtime/engine.ts'
import type { SharedForm } from '../runtime/module-source.ts'
import { Runner } from '../runtime/runner.ts'
import type { RunReport } from '../runtime/runner.ts'
import { CallSlot, ControlHeader } from './control.ts'

export interface InlineLaneOptions {
  readonly control: SharedArrayBuffer
  /** Of its slot in `control`, behind those of the executor threads. */
  readonly index: number
  readonly running: RunningSeat
  readonly host: HostOptions
  readonly compile_key: string
}

export class InlineLane {
  readonly index: number
  readonly #options: InlineLaneOptions
  /** Whoever finds this process dead reads whose module it had in hand. */
  readonly #marks: RunningFile
  readonly #header: ControlHeader
  #runner: Runner | null = null
  #unusable = false

  constructor(options: InlineLaneOptions) {
    this.index = options.index
    this.#options = options
    this.#marks = new RunningFile(options.running.path, options.running.seats)
    this.#header = new ControlHeader(options.control)
  }

  /** Opens the engine on this thread if that has not been done; takes some milliseconds. False where guests cannot run here. */
  open(): boolean {
    if (this.#runner !== null) return true
    if (this.#unusable) return false
    const { control, index, host, compile_key } = this.#options
    const log = hostLog(host)
    try {
      // Guests may take as much of it as of an executor thread's.
      const stackBytes = openLibc().stackBytes()
      if (stackBytes < LIMITS.inlineStackBytesMin) {
        throw new Error(`The main thread's stack may have ${stackBytes} bytes.`)
      }
      const engine = new Engine(host)
      engine.host.maySleep = false
      const compiledCode = new CompiledCode(engine.native, compile_key, this.#header.holder, log)
      const slot = new CallSlot(control, index)
      this.#runner = new Runner(engine, slot, compiledCode, inlineCleanInstancesMax)
      return true
    } catch (thrown) {
      this.#unusable = true
      log.failure('Guests cannot run on the HTTP thread; they all run on executor threads.', thrown)
      return false
    }
  }

  /** Loads a function's module, and makes a warm instance where its ABI keeps one. Only after `open`. Never throws. */
  prepare(fn: WorkerFunction, instance: number, form: SharedForm | null): RunReport {
    const runner = this.#runner
    if (runner === null) throw new Error('The inline lane is not open.')
    const { seat } = this.#options.running
    this.#marks.begin(seat, this.index, fn.slot, fn.version)
    const report = runner.prepare(fn, instance, form, LIMITS.inlineMsMax)
    this.#marks.end(seat, this.index)
    return report
  }

  /** Runs a call; null when it was given up here, for want of time mostly, and is to be run again. Only after `open`. Never throws. */
  call(
    fn: WorkerFunction,
    instance: number,
    request: GuestRequest,
    form: SharedForm | null,
  ): RunReport | null {
    const runner = this.#runner
    if (runner === null) return null
    const limitMs = Math.min(fn.max_execution_ms, LIMITS.inlineMsMax)
    this.#header.inlineUsed = 1
    const { seat } = this.#options.running
    this.#marks.begin(seat, this.index, fn.slot, fn.version)
    const report = runner.call(fn, instance, request, form, { limitMs, strict: true })
    this.#marks.end(seat, this.index)
    const { outcome } = report
    if (outcome.ok) return report
    const stopped = outcome.code === 'execution_timeout' && limitMs < fn.max_execution_ms
    // What cannot be loaded or begun here, or would sleep, is for the thread lane.
    return stopped || !report.loaded || outcome.code === 'overloaded' ? null : report
  }

  destroy(instance: number): void {
    this.#runner?.destroy(instance)
  }

  unload(key: string): void {
    this.#runner?.unload(key)
  }

  forget(functionId: string): void {
    this.#runner?.forget(functionId)
  }
}
