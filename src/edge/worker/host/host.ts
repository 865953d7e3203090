/** What host functions share: the call that runs now, the guest's memory, clocks. One per executor thread. */

import type { HostCall, HostResult } from '../../../../ffi/host-module.ts'
import type { Libc } from '../../../../ffi/libc.ts'
import type { GuestMemory } from '../../../../ffi/memory.ts'
import type { LogFields, LogLevel } from '../../../telemetry/log.ts'
import type { FetchLine } from '../fetch/line.ts'
import type { CallContext } from './context.ts'
import type { GuestMetrics } from './guest-metrics.ts'
import type { KvStores } from './kv/open-stores.ts'
import type { SqlDatabases } from './sql/open-databases.ts'

/** What a thread must be told to make its host: plain data, for it is sent to the thread. */
export interface HostOptions {
  readonly kv_dir: string
  readonly sql_dir: string
  readonly guest_metrics_dir: string
  /** For what concerns the node and not the guest. */
  readonly log: {
    readonly level: LogLevel
    readonly pretty: boolean
    readonly fields: LogFields
  }
}

export interface Host {
  readonly libc: Libc
  readonly memory: GuestMemory
  readonly kv: KvStores
  readonly sql: SqlDatabases
  readonly metrics: GuestMetrics
  /** The call that runs now. Host functions are only ever called during one. */
  current: CallContext | null
  /** Null until the first call of a function that may fetch. */
  fetchLine: FetchLine | null
  /** Whether the call that runs has been told to stop. */
  stopped: () => boolean
  /**
   * Does what waits for long and takes no processor; others may run in the meantime. It may return later than `wait` did,
   * but not after `leftMs`, which says what is left to the call, has come to 0.
   */
  sleeping: <T>(leftMs: () => number, wait: () => T) => T
  /** Whether guests may sleep on this thread; where not, the call ends and is run again elsewhere. */
  maySleep: boolean
}

/** A host function with its call's context at hand and the guest's memory attached. */
export type HostFunctionBody = (call: HostCall, context: CallContext, host: Host) => HostResult

/** Implementations of one import module by name. */
export type HostFunctionTable = Readonly<Record<string, HostFunctionBody>>
