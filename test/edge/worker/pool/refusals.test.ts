/** What the dispatcher answers a call with that it does not run. */

import { expect, test } from 'bun:test'

import { outcomeError } from '../../../../src/edge/worker/ingress/respond.ts'
import { failedOutcome, overloaded } from '../../../../src/edge/worker/pool/refusals.ts'
import { quarantineError } from '../../../../src/edge/verdicts.ts'

test('a refused call says why, and when to come again', () => {
  const until = Date.now() + 60_000
  const error = quarantineError({ name: 'killer' }, { version: 7, deaths: 3, until })
  const outcome = failedOutcome(error)
  expect(outcome).toMatchObject({ ok: false, code: 'function_quarantined', execution_ms: 0 })
  if (outcome.ok) throw new Error('It was refused.')
  expect(outcomeError(outcome).details).toEqual(error.details)
  expect(failedOutcome(overloaded('Too many.'))).not.toHaveProperty('details')
})
