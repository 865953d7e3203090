/** The guest ABIs as the runner sees them (DESIGN section 6): how each makes an instance, and how a request is answered. */

import type { Abi } from '../../../protocol/manifest.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestRequest, GuestResponse } from '../call.ts'
import { EdgefnInstance } from './edgefn-abi.ts'
import { ExtismInstance } from './extism-abi.ts'
import type { Guest, Invocation } from './invocation.ts'
import { runSpin } from './spin-abi.ts'
import { runWagi } from './wagi-abi.ts'
import { runWws } from './wws-abi.ts'

/** An instance that serves one request after the other. */
export interface KeptInstance {
  readonly guest: Guest
  /** Bytes of linear memory now. */
  readonly memoryBytes: number
  /** Does what a first request would otherwise have to; after a warm-up. Throws EdgefnError. */
  warm(invocation: Invocation): void
  /** Runs one request. Throws EdgefnError, or WornInstance when a new instance is to have it. */
  handle(invocation: Invocation, request: GuestRequest): GuestResponse
  /** Forgets what is known of its memory since `warm`, to which the instance has been set back. */
  rewind(): void
  delete(): void
}

/** Makes an initialised instance. Throws EdgefnError; nothing is left behind then. */
export interface KeptAbi {
  readonly keeps: true
  create(invocation: Invocation, fn: WorkerFunction): KeptInstance
}

/** Answers the request of the invocation's context in an instance of its own. Throws EdgefnError. */
export interface FreshAbi {
  readonly keeps: false
  run(invocation: Invocation, fn: WorkerFunction): GuestResponse
}

export const ABI_TABLE: Readonly<Record<Abi, KeptAbi | FreshAbi>> = {
  edgefn: { keeps: true, create: (invocation, fn) => EdgefnInstance.create(invocation, fn) },
  wagi: { keeps: false, run: runWagi },
  wws: { keeps: false, run: runWws },
  spin: { keeps: false, run: runSpin },
  extism: { keeps: true, create: (invocation, fn) => ExtismInstance.create(invocation, fn) },
}
