/** What an executor thread does with a call: load, instantiate or reuse, run under the deadline, report. */

import { EdgefnError, toEdgefnError } from '../../../errors.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { CallMeasures, GuestRequest, GuestResponse, Outcome } from '../call.ts'
import { codeKey, queueWaitMs } from '../call.ts'
import { CallContext } from '../host/context.ts'
import type { FetchLine } from '../fetch/line.ts'
import type { CallSlot } from '../lanes/control.ts'
import { ABI_TABLE } from './abi-table.ts'
import { BusyTime } from './busy-time.ts'
import { CleanInstances, threadCleanInstancesMax } from './clean-instances.ts'
import type { CompiledCode } from './compiled-code.ts'
import type { Engine } from './engine.ts'
import { exitError, GuestExit, timeout } from './guest-call.ts'
import { Invocation } from './invocation.ts'
import { KeptInstances } from './kept-instances.ts'
import type { LoadedFunction, LoadSettings, SharedForm } from './module-source.ts'
import { loadFunction } from './module-source.ts'
import { WARM_UP } from './warm-up.ts'

/**
 * Milliseconds the initialisation of a warm instance may take: at least the first, however short the function's own limit is,
 * and at most the second, however long; the agent takes a worker that is not done for hung, and ends it.
 */
const prepareMsMin = 5_000
const prepareMsMax = 8_000

/** The outcome, and what the pool must know about the instance. */
export interface RunReport {
  readonly outcome: Outcome
  /** Whether the instance lives on and may be used again. */
  readonly alive: boolean
  /** Bytes of its linear memory, and of what it has besides. */
  readonly bytes: number
  /** Where its linear memory is, and the bytes of that alone. */
  readonly memory_at: number
  readonly memory_bytes: number
  /** Bytes that the tables of an instance may take. */
  readonly table_bytes: number
  /** Bytes that the module takes on the thread: its code, and an instance that waits to be set back. */
  readonly code_bytes: number
  /** Whether the thread holds the module now. */
  readonly loaded: boolean
  /** What other threads can load the module from, when this one has just made it. */
  readonly form: SharedForm | null
}

export interface CallSettings {
  readonly limitMs: number
  readonly strict: boolean
}

/** One call in so many is timed on its way into the guest and out of it (`edgefn_dispatch_seconds`). */
const timedEvery = 16

const NOT_LOADED: LoadedFunction = { code_bytes: 0, table_bytes: 0, may_inline: false }

export class Runner {
  readonly #engine: Engine
  readonly #slot: CallSlot
  readonly #compiledCode: CompiledCode
  /** What is known of the modules that the engine holds. */
  readonly #loaded = new Map<string, LoadedFunction>()
  readonly #instances = new KeptInstances()
  readonly #busy: BusyTime
  readonly #cleanInstances: CleanInstances
  #calls = 0

  constructor(
    engine: Engine,
    slot: CallSlot,
    compiledCode: CompiledCode,
    cleanInstancesMax = threadCleanInstancesMax,
  ) {
    this.#engine = engine
    this.#slot = slot
    this.#compiledCode = compiledCode
    this.#busy = new BusyTime(engine.host.libc.threadCpuMs)
    this.#cleanInstances = new CleanInstances(engine, cleanInstancesMax)
    engine.host.stopped = () => slot.claimed
  }

  /**
   * Runs a request in instance `id`, which is made first when it does not exist here, for at most `limitMs` milliseconds.
   * `strict`: not interpreted in place of a compiled form that cannot be loaded. Never throws.
   */
  call(
    fn: WorkerFunction,
    id: number,
    request: GuestRequest,
    form: SharedForm | null,
    { limitMs, strict }: CallSettings = { limitMs: fn.max_execution_ms, strict: false },
  ): RunReport {
    const abi = ABI_TABLE[fn.abi]
    const cold = abi.keeps ? !this.#instances.has(id) : !this.#engine.hasModule(codeKey(fn))
    const load = { strict, form }
    return this.#run(fn, id, request, cold, limitMs, load, (invocation) =>
      abi.keeps
        ? this.#instances.handle(abi, invocation, fn, id, request)
        : abi.run(invocation, fn),
    )
  }

  /**
   * Loads the module and instantiates it, so that one that cannot be is found before it is routed to. Where the ABI keeps
   * instances it is kept as `id`, warm. Never throws.
   */
  prepare(
    fn: WorkerFunction,
    id: number,
    form: SharedForm | null,
    limitMs = Math.min(Math.max(fn.max_execution_ms, prepareMsMin), prepareMsMax),
  ): RunReport {
    const abi = ABI_TABLE[fn.abi]
    const load = { strict: true, form }
    return this.#run(fn, id, WARM_UP, true, limitMs, load, (invocation) => {
      if (abi.keeps) this.#instances.warm(abi, invocation, fn, id)
      else invocation.giveBack(invocation.cleanInstance())
      return { status: 204, headers: [], body: new Uint8Array(0) }
    })
  }

  /** To be called when no answer waits: closes files that this thread has open too many. */
  rest(): void {
    this.#engine.host.kv.trim()
    this.#engine.host.sql.trim()
  }

  destroy(id: number): void {
    this.#instances.delete(id)
  }

  /** Lets go of everything; nothing may be asked of it afterwards. */
  close(): void {
    this.#instances.clear()
    this.#cleanInstances.clear()
    this.#loaded.clear()
    this.#engine.close()
  }

  returnMemory(): void {
    this.#cleanInstances.clear()
    this.#engine.host.libc.returnMemory()
  }

  unload(key: string): void {
    this.#cleanInstances.forget(key)
    this.#engine.unloadModule(key)
    this.#loaded.delete(key)
  }

  /** A function is not run here any more. It may have been deleted: a store that stays open keeps its disk. */
  forget(functionId: string): void {
    this.#engine.host.kv.forget(functionId)
    this.#engine.host.sql.forget(functionId)
  }

  /** Lets functions with an allow-list fetch. */
  connectFetches(line: FetchLine): void {
    this.#engine.host.fetchLine = line
  }

  #run(
    fn: WorkerFunction,
    id: number,
    request: GuestRequest,
    cold: boolean,
    limitMs: number,
    load: LoadSettings,
    body: (invocation: Invocation) => GuestResponse,
  ): RunReport {
    const { host } = this.#engine
    const key = codeKey(fn)
    const had = this.#engine.hasModule(key)
    const made = had ? null : this.#load(fn, load)
    const loadFailure = made instanceof EdgefnError ? made : null
    // In the inline lane nothing has come between.
    const isInline = load.strict && request !== WARM_UP
    const startedMs = isInline && had ? request.admitted_ms : host.libc.monotonicMs()
    const refusal =
      loadFailure ?? (startedMs > request.admitted_ms + queueWaitMs(fn) ? lateStart(fn) : null)
    const context = new CallContext(fn, request, startedMs, startedMs + limitMs)
    const executor = this.#engine.executor(fn.memory_pages)
    this.#calls += 1
    const timed = this.#calls % timedEvery === 0
    const cpuMs = isInline ? 0 : host.libc.threadCpuMs()
    const clean = this.#cleanInstances
    const invocation = new Invocation(this.#engine, context, this.#slot, executor, clean, timed)
    let result: GuestResponse | EdgefnError
    let returned = true
    host.current = context
    this.#slot.begin(context.deadlineMs, executor.stop, limitMs >= fn.max_execution_ms)
    try {
      if (refusal !== null) throw refusal
      result = body(invocation)
    } catch (thrown) {
      result = thrown instanceof GuestExit ? exitError(thrown) : toEdgefnError(thrown)
      // A guest that ended itself left its instance half-way; one that returned an error did not.
      returned =
        result === refusal || result.code === 'invalid_response' || result.code === 'function_error'
    }
    const stopped = !this.#slot.end()
    if (stopped) {
      // The watchdog won: whatever came back is late, and the executor's token may be set.
      result = timeout(context)
      returned = false
      this.#engine.discardExecutor(executor)
    }
    invocation.cleanUp(stopped)
    context.flushStreams()
    context.fetches?.closeAll()
    host.fetchLine?.tellRefused()
    const alive = returned && context.end === null && this.#instances.isClean(id)
    // Attaches the memory.
    const bytes = alive ? this.#instances.bytes(id) : 0
    const memory_at = alive ? host.memory.base : 0
    const memory_bytes = alive ? host.memory.bytes : 0
    if (!alive) this.destroy(id)
    host.memory.detach()
    host.current = null
    const execution_ms = host.libc.monotonicMs() - startedMs
    const busy_ms = isInline
      ? this.#busy.of(execution_ms, context.sleptMs, timed)
      : host.libc.threadCpuMs() - cpuMs + context.sleptMs
    const known = this.#loaded.get(key) ?? null
    const { table_bytes } = known ?? NOT_LOADED
    const code_bytes = (known?.code_bytes ?? 0) + this.#cleanInstances.bytes(key)
    const outcome = outcomeOf(result, invocation, cold, { execution_ms, busy_ms })
    const form = made instanceof EdgefnError || made === load.form ? null : made
    const loaded = known !== null
    return {
      outcome,
      alive,
      bytes,
      memory_at,
      memory_bytes,
      table_bytes,
      code_bytes,
      loaded,
      form,
    }
  }

  /** Loads a module that this thread does not have. Returns what went wrong, or what others can load it from. */
  #load(fn: WorkerFunction, settings: LoadSettings): EdgefnError | SharedForm {
    try {
      const form = loadFunction(this.#engine, this.#compiledCode, fn, settings)
      const { code_bytes, table_bytes, may_inline } = form
      // Not the code itself: the engine has what it needs of it.
      this.#loaded.set(codeKey(fn), { code_bytes, table_bytes, may_inline })
      return form
    } catch (thrown) {
      return toEdgefnError(thrown)
    }
  }
}

/** The module was loaded, or the thread got its turn, too late for a call to begin. */
function lateStart(fn: WorkerFunction): EdgefnError {
  const message = `The call could not begin within ${queueWaitMs(fn)} ms.`
  return new EdgefnError('overloaded', message)
}

function outcomeOf(
  result: GuestResponse | EdgefnError,
  { context, enteredMs: entered_ms, leftMs: left_ms }: Invocation,
  cold: boolean,
  times: Pick<CallMeasures, 'execution_ms' | 'busy_ms'>,
): Outcome {
  const { logs, logsDropped: logs_dropped } = context
  const { execution_ms, busy_ms } = times
  const measures = { execution_ms, busy_ms, cold, logs, logs_dropped, entered_ms, left_ms }
  if (result instanceof EdgefnError) {
    const { code, message, details } = result
    return { ok: false, code, message, ...(details === undefined ? {} : { details }), ...measures }
  }
  // Written out, for spreading an object takes as long as all the rest of this.
  return {
    ok: true,
    response: result,
    execution_ms,
    busy_ms,
    cold,
    logs,
    logs_dropped,
    entered_ms,
    left_ms,
  }
}
