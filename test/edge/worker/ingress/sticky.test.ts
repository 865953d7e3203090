/** Who gets which version of a split: shares as the weights say, users that stay, and no more that move than must. */

import { describe, expect, test } from 'bun:test'

import fc from 'fast-check'

import type { SplitRow } from '../../../../src/edge/ipc.ts'
import {
  cookieIn,
  pointOf,
  seedOf,
  userOf,
  versionAt,
} from '../../../../src/edge/worker/ingress/sticky.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'

const usersCount = 20_000

/** Weights of 2 to N versions that sum to 100, in the order of the versions. */
const armsArbitrary: fc.Arbitrary<SplitRow['arms']> = fc
  .uniqueArray(fc.integer({ min: 1, max: 99 }), {
    minLength: 1,
    maxLength: LIMITS.splitVersionsMax - 1,
  })
  .map((borders) => {
    const ends = [...borders.sort((a, b) => a - b), 100]
    return ends.map((end, index) => ({
      version: index + 1,
      weight: end - (ends[index - 1] ?? 0),
    }))
  })

const idArbitrary = fc.uuid()
/** Names of users as they come: numbers, addresses, e-mail addresses, random tokens. */
const namerArbitrary = fc.constantFrom(
  (index: number) => String(index),
  (index: number) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`,
  (index: number) => `user-${index}@example.com`,
  (index: number) => `${(index * 2_654_435_761) % 4_294_967_296}`,
  (index: number) => `${'x'.repeat(40)}${index.toString(36)}`,
)

describe('the shares', () => {
  test('are what the weights say, for users of any kind and every function', () => {
    fc.assert(
      fc.property(armsArbitrary, idArbitrary, namerArbitrary, (arms, id, nameOf) => {
        const seed = seedOf(id)
        const counts = new Map<number, number>()
        for (let index = 0; index < usersCount; index += 1) {
          const version = versionAt(arms, pointOf(seed, nameOf(index)))
          counts.set(version, (counts.get(version) ?? 0) + 1)
        }
        for (const { version, weight } of arms) {
          const expected = (usersCount * weight) / 100
          // Five standard deviations of so many throws of a fair die.
          const tolerance = 5 * Math.sqrt((expected * (100 - weight)) / 100)
          expect(Math.abs((counts.get(version) ?? 0) - expected)).toBeLessThan(tolerance)
        }
      }),
      { numRuns: 100 },
    )
  })

  test('of two functions are of different users', () => {
    const arms = [
      { version: 1, weight: 90 },
      { version: 2, weight: 10 },
    ]
    const [a, b] = [seedOf(Bun.randomUUIDv7()), seedOf(Bun.randomUUIDv7())]
    const users = Array.from({ length: usersCount }, (_, index) => `user-${index}`)
    const inBoth = users.filter(
      (user) => versionAt(arms, pointOf(a, user)) === 2 && versionAt(arms, pointOf(b, user)) === 2,
    )
    expect(inBoth.length).toBeGreaterThan(usersCount * 0.005)
    expect(inBoth.length).toBeLessThan(usersCount * 0.015)
  })
})

describe('a user', () => {
  test('is the same point on every node and in every release', () => {
    const seed = seedOf('01890a5d-ac96-774b-bcce-b302099a8057')
    const points = ['', 'alice', '203.0.113.9', 'ünïcode ☃'].map((user) => pointOf(seed, user))
    expect(points.map((point) => point.toFixed(6))).toEqual([
      '47.744914',
      '64.128011',
      '75.533198',
      '24.558322',
    ])
  })

  test('stays with a version for as long as its weight and those below it do not change', () => {
    fc.assert(
      fc.property(armsArbitrary, armsArbitrary, idArbitrary, (before, after, id) => {
        const borders = (arms: SplitRow['arms']) => {
          let end = 0
          return new Map(arms.map(({ version, weight }) => [version, [end, (end += weight)]]))
        }
        const [was, is] = [borders(before), borders(after)]
        for (let index = 0; index < 500; index += 1) {
          const point = pointOf(seedOf(id), `user-${index}`)
          const version = versionAt(before, point)
          const [from = 0, to = 0] = is.get(version) ?? []
          const stays = point >= from && point < to
          expect(versionAt(after, point) === version).toBe(stays)
          const [start = 0, end = 0] = was.get(version) ?? []
          expect(point >= start && point < end).toBe(true)
        }
      }),
      { numRuns: 100 },
    )
  })

  test('of two versions moves only if the one grows by it, whose own users all stay', () => {
    const weight = fc.integer({ min: 1, max: 99 })
    fc.assert(
      fc.property(weight, weight, idArbitrary, (older, newer, id) => {
        const split = (share: number): SplitRow['arms'] => [
          { version: 41, weight: 100 - share },
          { version: 42, weight: share },
        ]
        const [before, after] = [split(older), split(newer)]
        const grown = newer > older ? 42 : 41
        let moved = 0
        for (let index = 0; index < usersCount / 4; index += 1) {
          const point = pointOf(seedOf(id), `user-${index}`)
          const [was, is] = [versionAt(before, point), versionAt(after, point)]
          if (was === is) continue
          moved += 1
          expect(is).toBe(grown)
        }
        const share = Math.abs(newer - older) / 100
        const expected = (usersCount / 4) * share
        const tolerance = 5 * Math.sqrt(expected * (1 - share)) + 1
        expect(Math.abs(moved - expected)).toBeLessThan(tolerance)
      }),
      { numRuns: 100 },
    )
  })

  test('is a field or cookie where the request has it, else the client’s address', () => {
    const peer = (address: string) => ({
      serverPort: 1,
      peer: () => ({ address, port: 9 }),
      patience: () => {},
    })
    const record = { 'x-user': 'alice', cookie: 'a=1; sid=s3; sid=s4' }
    expect(userOf({ header: 'x-user' }, record, peer('192.0.2.1'))).toBe('alice')
    expect(userOf({ cookie: 'sid' }, record, peer('192.0.2.1'))).toBe('s3')
    expect(userOf('client', record, peer('192.0.2.1'))).toBe('192.0.2.1')
    expect(userOf({ header: 'x-other' }, record, peer('::ffff:192.0.2.1'))).toBe('192.0.2.1')
    expect(userOf({ header: 'x-user' }, { 'x-user': '' }, peer('::1'))).toBe('::1')
    expect(userOf({ cookie: 'sid' }, {}, peer('::1'))).toBe('::1')
    expect(cookieIn('xsid=1; sid =2', 'sid')).toBe('2')
    expect(cookieIn('sid', 'sid')).toBeUndefined()
  })
})
