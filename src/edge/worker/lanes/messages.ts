/**
 * Messages between a worker's main thread and its executor threads. Both ends are this file in one process, so they are
 * typed, not parsed: the border checks happened at HTTP and IPC.
 */

import type { MessagePort } from 'node:worker_threads'

import type { IpcError, WorkerFunction } from '../../ipc.ts'
import type { RunningSeat } from '../../running.ts'
import type { FetchOutcome } from '../../stats.ts'
import type { GuestRequest } from '../call.ts'
import type { HostOptions } from '../host/host.ts'
import type { SharedForm } from '../runtime/module-source.ts'
import type { RunReport } from '../runtime/runner.ts'

export type ToThread =
  /** What `key`, of its pool, means in the messages after this one; until it is to be forgotten, or could not be loaded. */
  | { readonly type: 'function'; readonly key: string; readonly fn: WorkerFunction }
  | {
      readonly type: 'call'
      readonly key: string
      readonly instance: number
      readonly request: GuestRequest
      /** For a thread that does not have the module yet, what another one has made of it. */
      readonly form: SharedForm | null
    }
  | {
      readonly type: 'prepare'
      readonly key: string
      readonly instance: number
      readonly form: SharedForm | null
    }
  | { readonly type: 'destroy'; readonly instance: number }
  /** Drop a module. */
  | { readonly type: 'unload'; readonly key: string }
  /** `key` means nothing any more; and, unless that is null, nothing of the function is run here. */
  | { readonly type: 'forget'; readonly key: string; readonly function_id: string | null }
  /** The line to the fetch thread; before the first call that may use it. */
  | { readonly type: 'fetch_port'; readonly port: MessagePort }
  /** Let go of all that the engine holds for the thread, and end. */
  | { readonly type: 'end' }
  /** Give the system back what destroyed instances have left. */
  | { readonly type: 'return_memory' }

export type FromThread =
  | { readonly type: 'ready'; readonly engine: string }
  | { readonly type: 'failed'; readonly error: IpcError }
  | { readonly type: 'done'; readonly report: RunReport }
  /** The guest waits in a host function, and somebody wanted to know (`RestBoard.want`). */
  | { readonly type: 'asleep' }

/** `workerData` of the threads that `main.ts` re-enters for. */
export type ThreadData =
  | {
      readonly edgefn_thread: 'executor'
      readonly control: SharedArrayBuffer
      /** `rest.ts`. */
      readonly rest: SharedArrayBuffer
      readonly running: RunningSeat
      readonly index: number
      readonly host: HostOptions
      /** Public key of what the node compiles (SPKI, DER, base64). */
      readonly compile_key: string
    }
  | {
      readonly edgefn_thread: 'watchdog'
      readonly control: SharedArrayBuffer
      readonly threads: number
      readonly running: RunningSeat | null
    }
  | { readonly edgefn_thread: 'kv_keeper'; readonly host: HostOptions }
  | { readonly edgefn_thread: 'fetch'; readonly allow_private: readonly string[] }

/** Main thread → fetch thread: an executor's line; or it is to end. */
export type ToFetches =
  { readonly type: 'connect'; readonly port: MessagePort } | { readonly type: 'end' }

/** Fetch thread → main thread: how fetches ended, and how many, for the count. */
export interface FromFetchThread {
  readonly counts: ReadonlyMap<FetchOutcome, number>
}
