import { expect, test } from 'bun:test'

import { killStorm } from './kill-storm.ts'

test('guests of all kinds are stopped at random moments, in every form, and nothing else suffers', async () => {
  const result = await killStorm(400, 1, ['interpreted', 'O0'])
  expect(result.kills).toBe(400)
  expect(result.defects).toEqual([])
  expect(result.neighbourCalls).toBeGreaterThan(10)
}, 120_000)
