/** Whether a call may run now, by its function's quotas (SPEC 4); a function without quotas is always admitted. */

import { EdgefnError } from '../../../errors.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { QuotaFile } from '../../quota.ts'

/** Milliseconds after which a call over the concurrency is worth trying again; nobody knows when one will end. */
const concurrencyRetryMs = 1_000

export interface Admission {
  /**
   * Takes the call in; `release` must be called when it ends. Throws `rate_limited` naming the quota in `details.quota`,
   * with `details.retry_after_ms`; then there is nothing to release.
   */
  admit(fn: WorkerFunction): void
  release(fn: WorkerFunction): void
}

export interface AdmissionDeps {
  readonly quotas: QuotaFile
  /** This worker's place. */
  readonly worker: number
  /** Milliseconds of a clock that all workers of the node share. */
  readonly nowMs: () => number
}

export function createAdmission({ quotas, worker, nowMs }: AdmissionDeps): Admission {
  function release({ quota_slot, quotas: { concurrency } }: WorkerFunction): void {
    if (concurrency !== null) quotas.leave(quota_slot, worker)
  }

  return {
    release,
    admit(fn) {
      const { concurrency, requests_per_second: rate } = fn.quotas
      if (concurrency !== null && !quotas.enter(fn.quota_slot, worker, concurrency)) {
        const message = `The function runs at most ${concurrency} calls at a time on this node.`
        throw refusal(message, 'concurrency', concurrency, concurrencyRetryMs)
      }
      const waitMs = rate === null ? 0 : quotas.takeRate(fn.quota_slot, fn.quotas, nowMs())
      if (waitMs === 0 || rate === null) return
      release(fn)
      const message = `The function takes at most ${rate} requests per second on this node.`
      throw refusal(message, 'requests_per_second', rate, waitMs)
    },
  }
}

function refusal(message: string, quota: string, limit: number, waitMs: number): EdgefnError {
  const details = { quota, limit, retry_after_ms: Math.ceil(waitMs) }
  return new EdgefnError('rate_limited', message, { details })
}
