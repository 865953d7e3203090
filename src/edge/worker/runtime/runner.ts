/** What an executor thread does with a call: load, instantiate or reuse, run under the deadline, report. */

import { readFileSync } from 'node:fs'

import { EdgefnError, errorMessage, toEdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { decodeModule } from '../../../wasm/decode.ts'
import { tableBytesMax } from '../../../wasm/tables.ts'
import type { WasmModule } from '../../../wasm/module.ts'
import { withResultMemory } from '../../../wasm/rewrite/result-memory.ts'
import { safeguardModule } from '../../../wasm/rewrite/safeguard.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestRequest, GuestResponse, Outcome } from '../call.ts'
import { poolKey, queueWaitMs } from '../call.ts'
import { CallContext } from '../host/context.ts'
import type { FetchLine } from '../fetch/line.ts'
import type { CallSlot } from '../lanes/control.ts'
import { ABI_TABLE } from './abi-table.ts'
import type { KeptAbi, KeptInstance } from './abi-table.ts'
import type { Engine } from './engine.ts'
import { exitError, GuestExit, timeout } from './guest-call.ts'
import { Invocation } from './invocation.ts'

/** Milliseconds the initialisation of a warm instance may take at least, however short the function's own limit is. */
const prepareMsMin = 5_000

/** The outcome, and what the pool must know about the instance. */
export interface RunReport {
  readonly outcome: Outcome
  /** Whether the instance lives on and may be used again. */
  readonly alive: boolean
  /** Bytes of its linear memory. */
  readonly bytes: number
  /** Bytes that the tables of an instance may take. */
  readonly table_bytes: number
  /** Instructions of the module, as the thread holds it. */
  readonly instructions: number
  /** Whether the thread holds the module now. */
  readonly loaded: boolean
}

/** The request that a warm-up runs under; no guest sees it. */
const WARM_UP: GuestRequest = {
  request_id: 'warm-up',
  method: 'GET',
  target: '/',
  headers: [],
  body: new Uint8Array(0),
  remote_address: '',
  remote_port: 0,
  server_name: '',
  server_port: 0,
  scheme: 'http',
  protocol: 'HTTP/1.1',
  route_path: '/',
  route_type: 'exact',
  admitted_ms: Number.POSITIVE_INFINITY,
}

export class Runner {
  readonly #engine: Engine
  readonly #slot: CallSlot
  /** Bytes of an instance's tables, by module, and how many instructions the module has. */
  readonly #tableBytes = new Map<string, number>()
  readonly #instructions = new Map<string, number>()
  readonly #instances = new Map<number, KeptInstance>()

  constructor(engine: Engine, slot: CallSlot) {
    this.#engine = engine
    this.#slot = slot
  }

  /** Runs a request in instance `id`, which is made first when it does not exist here. Never throws. */
  call(fn: WorkerFunction, id: number, request: GuestRequest): RunReport {
    const abi = ABI_TABLE[fn.abi]
    const cold = abi.keeps ? !this.#instances.has(id) : !this.#engine.hasModule(poolKey(fn))
    return this.#run(fn, id, request, cold, fn.max_execution_ms, (invocation) =>
      abi.keeps
        ? this.#instance(abi, invocation, fn, id).handle(invocation, request)
        : abi.run(invocation, fn),
    )
  }

  /**
   * Loads the module and instantiates it, so that one that cannot be is found before it is routed to. Where the ABI keeps
   * instances it is kept as `id`, warm. Never throws.
   */
  prepare(fn: WorkerFunction, id: number): RunReport {
    const abi = ABI_TABLE[fn.abi]
    const limitMs = Math.max(fn.max_execution_ms, prepareMsMin)
    return this.#run(fn, id, WARM_UP, true, limitMs, (invocation) => {
      if (abi.keeps) this.#instance(abi, invocation, fn, id).warm(invocation)
      else this.#engine.deleteInstance(invocation.instantiate(poolKey(fn)).instance)
      return { status: 204, headers: [], body: new Uint8Array(0) }
    })
  }

  /** To be called when no answer waits: closes files that this thread has open too many. */
  rest(): void {
    this.#engine.host.kv.trim()
  }

  destroy(id: number): void {
    this.#instances.get(id)?.delete()
    this.#instances.delete(id)
  }

  returnMemory(): void {
    this.#engine.host.libc.returnMemory()
  }

  unload(key: string): void {
    this.#engine.unloadModule(key)
    this.#tableBytes.delete(key)
    this.#instructions.delete(key)
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
    body: (invocation: Invocation) => GuestResponse,
  ): RunReport {
    const { host } = this.#engine
    const loadFailure = this.#load(fn)
    const startedMs = host.libc.monotonicMs()
    const refusal =
      loadFailure ?? (startedMs > request.admitted_ms + queueWaitMs(fn) ? lateStart(fn) : null)
    const context = new CallContext(fn, request, startedMs, startedMs + limitMs)
    const executor = this.#engine.executor(fn.memory_pages)
    const invocation = new Invocation(this.#engine, context, this.#slot, executor)
    let result: GuestResponse | EdgefnError
    let returned = true
    host.current = context
    this.#slot.begin(context.deadlineMs, executor.stop)
    try {
      if (refusal !== null) throw refusal
      result = body(invocation)
    } catch (thrown) {
      result = thrown instanceof GuestExit ? exitError(thrown) : toEdgefnError(thrown)
      // A guest that ended itself left its instance half-way; one that returned an error did not.
      returned =
        result === refusal || result.code === 'invalid_response' || result.code === 'function_error'
    }
    if (!this.#slot.end()) {
      // The watchdog won: whatever came back is late, and the executor's token may be set.
      result = timeout(context)
      returned = false
      this.#engine.discardExecutor(executor)
    }
    context.flushStreams()
    context.fetches?.closeAll()
    const alive = returned && context.end === null && this.#instances.has(id)
    if (!alive) this.destroy(id)
    const bytes = alive ? (this.#instances.get(id)?.memoryBytes ?? 0) : 0
    host.memory.detach()
    host.current = null
    const execution_ms = host.libc.monotonicMs() - startedMs
    const loaded = this.#engine.hasModule(poolKey(fn))
    const table_bytes = this.#tableBytes.get(poolKey(fn)) ?? 0
    const instructions = this.#instructions.get(poolKey(fn)) ?? 0
    const outcome = outcomeOf(result, context, cold, execution_ms)
    return { outcome, alive, bytes, table_bytes, instructions, loaded }
  }

  #instance(abi: KeptAbi, invocation: Invocation, fn: WorkerFunction, id: number): KeptInstance {
    const kept = this.#instances.get(id)
    if (kept !== undefined) return kept
    const created = abi.create(invocation, fn)
    this.#instances.set(id, created)
    return created
  }

  /** Reads, verifies and parses the module when this thread does not have it. Returns what went wrong, or null. */
  #load(fn: WorkerFunction): EdgefnError | null {
    const key = poolKey(fn)
    if (this.#engine.hasModule(key)) return null
    try {
      const bytes = readVerified(fn)
      const wrapped = withResultMemory(decodeModule(bytes)) ?? bytes
      const module = decodeModule(wrapped)
      requirePages(module, fn.memory_pages)
      const rewritten = safeguardModule(module, LIMITS.stackCellsMax)
      this.#engine.loadModule(key, rewritten ?? wrapped)
      this.#tableBytes.set(key, tableBytesMax(module))
      this.#instructions.set(key, module.instructions)
      return null
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

/** The engine gives a module that starts with more memory than its limit the limit, and says nothing. */
function requirePages(module: WasmModule, limit: number): void {
  const pages = module.memories[0]?.min ?? 0
  if (pages <= limit) return
  const message = `Module needs at least ${pages} memory pages, memory_pages is ${limit}.`
  throw new EdgefnError('function_load_failed', message)
}

/** The cached module's bytes; a file that is not what its name promises is never parsed (P4). */
function readVerified(fn: WorkerFunction): Uint8Array<ArrayBuffer> {
  if (fn.path === null) {
    throw new EdgefnError('function_unavailable', 'The module is not in the local cache.')
  }
  let bytes: Uint8Array<ArrayBuffer>
  try {
    bytes = new Uint8Array(readFileSync(fn.path))
  } catch (thrown) {
    const message = `The cached module cannot be read: ${errorMessage(thrown)}.`
    throw new EdgefnError('artifact_mismatch', message, { cause: thrown })
  }
  const digest = new Bun.CryptoHasher('sha256').update(bytes).digest('hex')
  if (digest !== fn.sha256) {
    throw new EdgefnError('artifact_mismatch', 'The cached module does not have its digest.')
  }
  return bytes
}

function outcomeOf(
  result: GuestResponse | EdgefnError,
  context: CallContext,
  cold: boolean,
  execution_ms: number,
): Outcome {
  const { logs, logsDropped: logs_dropped } = context
  const measures = { execution_ms, cold, logs, logs_dropped }
  if (!(result instanceof EdgefnError)) return { ok: true, response: result, ...measures }
  const { code, message, details } = result
  return { ok: false, code, message, ...(details === undefined ? {} : { details }), ...measures }
}
