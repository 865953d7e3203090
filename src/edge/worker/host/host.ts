/** What host functions share: the call that runs now, the guest's memory, clocks. One per executor thread. */

import type { HostCall, HostResult } from '../../../../ffi/host-module.ts'
import type { Libc } from '../../../../ffi/libc.ts'
import type { GuestMemory } from '../../../../ffi/memory.ts'
import type { CallContext } from './context.ts'

export interface Host {
  readonly libc: Libc
  readonly memory: GuestMemory
  /** The call that runs now. Host functions are only ever called during one. */
  current: CallContext | null
}

/** A host function with its call's context at hand and the guest's memory attached. */
export type HostFunctionBody = (call: HostCall, context: CallContext, host: Host) => HostResult

/** Implementations of one import module by name. */
export type HostFunctionTable = Readonly<Record<string, HostFunctionBody>>
