/** What the dispatcher is given to run. */

import type { EdgefnError } from '../../../errors.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestRequest } from '../call.ts'
import type { RunReport } from '../runtime/runner.ts'
import type { Pool } from './pool.ts'

export interface Job {
  readonly kind: 'call' | 'prepare'
  readonly fn: WorkerFunction
  readonly pool: Pool
  /** Null for a warm-up. */
  readonly request: GuestRequest | null
  /** Whose signal aborts when nobody waits for the answer any more. */
  readonly client: (() => AbortSignal) | null
  /** When it was submitted (performance.now). */
  readonly since: number
  readonly settle: (report: RunReport | EdgefnError) => void
}
