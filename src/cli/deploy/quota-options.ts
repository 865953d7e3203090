/** Quotas of a function as flags of `deploy`, and as text. */

import { optional, type Options, type Values } from '../../config/option.ts'
import { integer, rate } from '../../config/values.ts'
import { EdgefnError } from '../../errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { QUOTA_MOST, type Quotas } from '../../protocol/manifest.ts'

export const QUOTA_OPTIONS = {
  concurrency: optional(integer(1, QUOTA_MOST.concurrency), {
    placeholder: 'N',
    help: 'calls at a time on a node, at most; 429 beyond; default: no limit',
  }),
  rps: optional(rate(QUOTA_MOST.rate), {
    placeholder: 'N',
    help: 'requests per second on a node, at most; 429 beyond; default: no limit',
  }),
  burst: optional(integer(1, QUOTA_MOST.burst), {
    placeholder: 'N',
    help: 'with --rps: requests that may come at once; default: as many as in a second',
  }),
  'queue-wait-ms': optional(integer(LIMITS.queueWaitMsMin, LIMITS.queueWaitMsMax), {
    placeholder: 'N',
    help: `how long a call may wait for its turn; 503 beyond; default: ${LIMITS.queueWaitMsMax}`,
  }),
} as const satisfies Options

/** Throws `invalid_config` for a burst of no rate. */
export function quotasOf(values: Values<typeof QUOTA_OPTIONS>): Quotas {
  if (values.burst !== null && values.rps === null) {
    throw new EdgefnError('invalid_config', '--burst needs --rps: it is how many may come at once.')
  }
  return {
    concurrency: values.concurrency,
    requests_per_second: values.rps,
    burst: values.burst,
    queue_wait_ms: values['queue-wait-ms'],
  }
}

/** `5 at a time, 10/s, burst 20, waits 100 ms`, or a dash. */
export function quotasText(quotas: Quotas): string {
  const parts = [
    quotas.concurrency === null ? null : `${quotas.concurrency} at a time`,
    quotas.requests_per_second === null ? null : `${quotas.requests_per_second}/s`,
    quotas.burst === null ? null : `burst ${quotas.burst}`,
    quotas.queue_wait_ms === null ? null : `waits ${quotas.queue_wait_ms} ms`,
  ]
  return parts.filter((part) => part !== null).join(', ') || '-'
}
