/** Versions that are brought for a preview, and where a browser is sent once it has its cookie. */

import { expect, test } from 'bun:test'

import { locationOf } from '../../../../src/edge/worker/ingress/preview-door.ts'
import { createPreviewFlights } from '../../../../src/edge/worker/ingress/preview-flights.ts'

test('a flight that failed does not take a newer one of the version with it', async () => {
  let requests = 0
  const flights = createPreviewFlights({
    ...{ waitMsMax: 500, failureMsKept: 20, waitersMax: 10 },
    request: () => (requests += 1) > 0,
  })
  const arm = { function_id: 'f', version: 2 } as Parameters<typeof flights.bring>[0]
  expect(await flights.bring(arm, 't').catch(String)).toContain('cannot be had')
  // Late: the flight is given up, and what is kept of its failure with it.
  flights.previewed(arm, null)
  const newer = flights.bring(arm, 't')
  // Longer than a failure is kept.
  await Bun.sleep(60)
  const joined = flights.bring(arm, 't')
  flights.previewed(arm, null)
  await Promise.all([newer, joined])
  expect(requests).toBe(2)
})

test('a browser stays on the host, whatever slashes its path begins with', () => {
  expect(locationOf('/\\evil.com?a=1')).toBe('/evil.com?a=1')
  expect(locationOf('//evil.com')).toBe('/evil.com')
  expect(locationOf('\\/\\evil.com/b//c')).toBe('/evil.com/b//c')
  expect(locationOf('/a?b=//c')).toBe('/a?b=//c')
})
