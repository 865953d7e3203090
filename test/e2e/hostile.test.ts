import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

import { CORPUS } from '../guests/hostile/corpus.ts'
import type { HostileGuest } from '../guests/hostile/guest.ts'
import type { Deployed } from './deploy-guest.ts'
import { Siege } from './siege.ts'

let siege: Siege

/** Guests whose start is slow on purpose: they are deployed together, before the others. */
const slow = CORPUS.filter(
  ({ expects }) => expects.outcome === 'unfit' && expects.codes.includes('execution_timeout'),
)
const early = new Map<HostileGuest, Promise<Deployed>>()

beforeAll(async () => {
  // What compiled code adds has a test of its own.
  siege = await Siege.begin('hostile-1', ['--compile', 'off', '--spare-worker', 'off'])
  for (const guest of slow) early.set(guest, siege.deploy(guest))
}, 120_000)

afterAll(() => siege.end(), 60_000)

describe('a hostile guest is refused or contained, and nobody else is hurt', () => {
  const ordered = [...CORPUS.filter((guest) => !slow.includes(guest)), ...slow]

  test.each(ordered.map((guest) => [guest.title, guest] as const))(
    '%s',
    async (_, guest) => {
      const deployed = await (early.get(guest) ?? siege.deploy(guest))
      if (siege.expectDeployed(guest, deployed)) {
        await siege.expectCalls(guest)
        await siege.expectOneResponse(guest)
        await siege.remove(guest)
      }
      await siege.expectNobodyHurt()
    },
    30_000,
  )
})

test('what the guests logged is one JSON object per line', () => {
  const lines = siege.node.output.split('\n').filter((line) => line !== '')
  const broken = lines.filter((line) => {
    try {
      return typeof JSON.parse(line) !== 'object'
    } catch {
      return true
    }
  })
  expect(lines.length).toBeGreaterThan(CORPUS.length)
  expect(broken).toEqual([])
})
