/** A call of a guest as it travels from ingress through pool and lane to the runtime, and what comes back. */

import type { ErrorCode } from '../../errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Abi } from '../../protocol/manifest.ts'
import type { MemoryPressure, WorkerFunction } from '../ipc.ts'

/** One HTTP request for a guest. Plain data: it is cloned to executor threads. */
export interface GuestRequest {
  readonly request_id: string
  readonly method: string
  /** Path with query string, as the client sent it after URL normalisation: `/a/b?x=1`. */
  readonly target: string
  /** Header fields as lines (`header-lines.ts`), names in lower case, hop-by-hop fields already gone. */
  readonly header_lines: string
  readonly body: Uint8Array<ArrayBuffer>
  readonly remote_address: string
  readonly remote_port: number
  readonly server_name: string
  readonly server_port: number
  readonly scheme: 'http' | 'https'
  readonly protocol: 'HTTP/1.1' | 'HTTP/2.0'
  /** Path of the matched route, for WAGI's SCRIPT_NAME and X_MATCHED_ROUTE. */
  readonly route_path: string
  readonly route_type: 'exact' | 'prefix' | 'regex'
  /**
   * Monotonic milliseconds (`Libc.monotonicMs`) at which the call was admitted, with its body and its module at hand. It
   * begins within the function's queue limit from here, or not at all; begun, it has its whole max_execution_ms.
   */
  readonly admitted_ms: number
  /** Log messages that are kept of the call; the others are counted. */
  readonly log_messages_max: number
}

/** The guest's response, already parsed and held to its limits. */
export interface GuestResponse {
  readonly status: number
  /** No hop-by-hop and no length fields; always has a content-type when there is a body. */
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array<ArrayBuffer>
}

export type GuestLogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface GuestLogMessage {
  readonly level: GuestLogLevel
  readonly message: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** What every call measures, however it ends. */
export interface CallMeasures {
  /** Milliseconds in the guest, instantiation included when it was cold. */
  readonly execution_ms: number
  /**
   * Of these, those on the processor and those slept by the guest's own wish: what it would take on any machine. Short calls in
   * the inline lane are taken to have been on it all the time (`runtime/busy-time.ts`).
   */
  readonly busy_ms: number
  /** Whether an instance had to be made for this call. */
  readonly cold: boolean
  readonly logs: readonly GuestLogMessage[]
  readonly logs_dropped: number
  /** When the guest was entered and left, in monotonic milliseconds; 0 of calls that are not timed. */
  readonly entered_ms: number
  readonly left_ms: number
}

export type Outcome =
  | ({ readonly ok: true; readonly response: GuestResponse } & CallMeasures)
  | ({
      readonly ok: false
      readonly code: ErrorCode
      readonly message: string
      readonly details?: Record<string, unknown>
    } & CallMeasures)

/** The pool as the ingress sees it. */
export interface Invoker {
  /**
   * Runs a call within its two limits (`queueWaitMs`, max_execution_ms), which count from `request.admitted_ms`. Never
   * rejects: whatever happens becomes an Outcome. A call that must wait is dropped when the client's signal aborts.
   */
  invoke(fn: WorkerFunction, request: GuestRequest, client?: () => AbortSignal): Promise<Outcome>
  /**
   * Runs the call on this thread and returns its outcome; null when it is to go through `invoke`: the function has not proved
   * itself, or was stopped because it took longer than this thread has time for, and nobody will see what it did till then.
   */
  invokeNow(fn: WorkerFunction, request: GuestRequest): Outcome | null
  /** Loads the module and keeps one warm instance. Rejects with EdgefnError when the function cannot be served. */
  prepare(fn: WorkerFunction): Promise<void>
  /** Makes `functions` the ones served; pools of others are retired when their last call ends. */
  assign(functions: readonly WorkerFunction[]): void
  /** Makes another form of a function that is served the one served. */
  upgrade(from: WorkerFunction, to: WorkerFunction): void
  /** Holds to what the node's memory allows: above 0 it gives up hot instances, at 2 it starts no new ones. */
  relieve(level: MemoryPressure): void
  /** Resolves when no call runs and all is closed. */
  close(): Promise<void>
}

/** Whether instances of an ABI serve one request after the other; a request of the others gets a fresh one. */
export function keepsInstances(abi: Abi): boolean {
  return abi === 'edgefn' || abi === 'extism'
}

/** Milliseconds from its admission within which a call of the function must begin. */
export function queueWaitMs({ quotas }: Pick<WorkerFunction, 'quotas'>): number {
  return quotas.queue_wait_ms ?? LIMITS.queueWaitMsMax
}

/**
 * Key of a module in the form that runs: functions that have the same share it on each thread, whosever they are; never an
 * instance.
 */
export function codeKey(fn: WorkerFunction): string {
  const known = codeKeys.get(fn)
  if (known !== undefined) return known
  const { sha256, memory_pages, compiled } = fn
  const form = compiled === null ? 'interpreted' : `${compiled.target}/${compiled.module.path}`
  const key = `${sha256}/${memory_pages}/${form}`
  codeKeys.set(fn, key)
  return key
}

/** Looked up with each call. */
const codeKeys = new WeakMap<WorkerFunction, string>()

/** Key of a pool: versions of one function do not share instances, nor do the forms of a version. */
export function poolKey(fn: WorkerFunction): string {
  let key = poolKeys.get(fn)
  if (key === undefined) {
    key = `${fn.function_id}/${fn.version}/${fn.sha256}/${fn.compiled?.level ?? 'interpreted'}`
    poolKeys.set(fn, key)
  }
  return key
}

/** A call needs its function's key several times. */
const poolKeys = new WeakMap<WorkerFunction, string>()
