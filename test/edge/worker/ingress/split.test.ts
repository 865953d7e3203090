/** Requests of a function whose traffic is split, over a real socket. */

import { expect, test } from 'bun:test'

import { armKey } from '../../../../src/edge/ipc.ts'
import { aFunction, answered, openIngress } from './harness.ts'

const ARMS = [
  { version: 41, weight: 70 },
  { version: 42, weight: 30 },
]

test('each user gets one version, counted by itself, and as many get it as its weight says', async () => {
  const main = aFunction({
    version: 41,
    slot: 3,
    split: { sticky: { header: 'x-user' }, arms: ARMS },
  })
  const { function_id } = main
  const arm = aFunction({
    function_id,
    version: 42,
    slot: 4,
    key: armKey({ function_id, version: 42 }),
  })
  const ingress = openIngress({
    fn: main,
    arms: [arm],
    invoke: (fn) => answered(String(fn.version), { status: fn.version === 42 ? 500 : 200 }),
  })
  try {
    const ask = async (user: string) => {
      const answer = await fetch(ingress.url, { headers: { 'x-user': user } })
      return answer.text()
    }
    const users = Array.from({ length: 600 }, (_, index) => `user-${index}`)
    const first = await Promise.all(users.map(ask))
    expect(await Promise.all(users.map(ask))).toEqual(first)
    const share = first.filter((version) => version === '42').length / users.length
    expect(share).toBeGreaterThan(0.2)
    expect(share).toBeLessThan(0.4)
    const counted = first.filter((version) => version === '42').length * 2
    expect(ingress.stats.get(4, 'invocations')).toBe(counted)
    expect(ingress.stats.get(4, 'server_errors')).toBe(counted)
    expect(ingress.stats.get(3, 'invocations')).toBe(1200 - counted)
    // Nobody names a user: all of one client go the same way.
    const plain = await Promise.all(
      users.slice(0, 20).map(async () => (await fetch(ingress.url)).text()),
    )
    expect(new Set(plain).size).toBe(1)
  } finally {
    ingress.close()
  }
})
