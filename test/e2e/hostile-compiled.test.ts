import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

import { COMPILED_CORPUS } from '../guests/hostile/corpus.ts'
import type { HostileGuest } from '../guests/hostile/guest.ts'
import type { Deployed } from './deploy-guest.ts'
import { Siege } from './siege.ts'

let siege: Siege
const deployed = new Map<HostileGuest, Promise<Deployed>>()
let compiled = 0

beforeAll(async () => {
  siege = await Siege.begin('hostile-2', ['--spare-worker', 'off'])
  // All at once: the node compiles one after the other, while the first ones are called already.
  for (const guest of COMPILED_CORPUS) deployed.set(guest, siege.deploy(guest))
}, 120_000)

afterAll(() => siege.end(), 60_000)

describe('a hostile guest that runs compiled is contained, and nobody else is hurt', () => {
  test.each(COMPILED_CORPUS.map((guest) => [guest.title, guest] as const))(
    '%s',
    async (_, guest) => {
      const result = await deployed.get(guest)
      if (result === undefined) throw new Error('The guest was not deployed.')
      siege.expectDeployed(guest, result)
      if (await siege.compiled(guest, result)) compiled += 1
      await siege.expectCalls(guest)
      await siege.expectOneResponse(guest)
      await siege.remove(guest)
      await siege.expectNobodyHurt()
    },
    180_000,
  )
})

test('nearly all of them were compiled', () => {
  expect(compiled).toBeGreaterThan(COMPILED_CORPUS.length * 0.9)
})
