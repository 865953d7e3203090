/** One attempt to deliver: a POST, signed, whose answer is looked at no further than its status. */

import { errorMessage } from '../../errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { WEBHOOK_HEADERS } from '../../protocol/webhooks.ts'
import { VERSION } from '../../version.ts'
import type { Claim, Outcome } from './outbox.ts'
import { signDelivery } from './signature.ts'

/** Characters of an error that are kept. */
const errorCharsMax = 300

/** Never rejects. `ended` gives up at once, as the end of the time does. */
export async function attemptDelivery(
  claim: Claim,
  secret: string,
  unixMs: number,
  ended: AbortSignal,
): Promise<Outcome> {
  const startedAt = performance.now()
  const body = bodyOf(claim)
  const timeout = AbortSignal.timeout(LIMITS.webhookAttemptMsMax)
  const after = (status: number | null, error: string | null): Outcome => ({
    status,
    error: error === null ? null : error.slice(0, errorCharsMax),
    ms: performance.now() - startedAt,
  })
  try {
    const response = await fetch(claim.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': `edgefn/${VERSION}`,
        [WEBHOOK_HEADERS.signature]: signDelivery(secret, Math.floor(unixMs / 1000), body),
        [WEBHOOK_HEADERS.delivery]: claim.id,
        [WEBHOOK_HEADERS.event]: claim.kind,
      },
      body,
      // Another place than the operator named is not told.
      redirect: 'manual',
      signal: AbortSignal.any([timeout, ended]),
    })
    // Nobody reads it; that it cannot be ended changes nothing.
    response.body?.cancel().catch(() => undefined)
    const { status, ok } = response
    if (ok) return after(status, null)
    const redirect = status >= 300 && status < 400 ? ', and redirects are not followed' : ''
    return after(status, `The receiver answered with ${status}${redirect}.`)
  } catch (thrown) {
    if (ended.aborted) return after(null, 'The control plane was closed meanwhile.')
    const limit = `The receiver did not answer within ${LIMITS.webhookAttemptMsMax} ms.`
    return after(null, timeout.aborted ? limit : errorMessage(thrown))
  }
}

/** The same text at every attempt but for the signature: the event was kept as it was told. */
function bodyOf({ id, webhook_id, event_seq, kind, payload }: Claim): string {
  const event: unknown = JSON.parse(payload)
  return JSON.stringify({ delivery_id: id, webhook_id, seq: event_seq, kind, event })
}
