/** The lease under which one control plane of several drives rollouts. */

import { expect, test } from 'bun:test'

import { Lease, leaseMs, LeaseLost } from '../../../../src/cp/deployments/rollout/lease.ts'
import type { NodeId } from '../../../../src/protocol/ids.ts'
import { tempDatabase } from '../../db/temp-database.ts'
import { stage } from './stage.ts'

test('of two drivers one drives; when it stands still for the time of a lease the other goes on', async () => {
  await using s = await stage()
  const nodes: NodeId[] = []
  for (const letter of 'abc') nodes.push(await s.addNode(letter, 'pop'))
  const id = await s.addFunction('f', 2)
  await s.deploy({ version: 1 })
  await s.deploy({ strategy: 'rolling', version: 2 })
  const [one, other] = [s.driver(), s.driver()]
  await s.sync(nodes)
  await one.look()
  await s.pass(4, other)
  expect(await s.assigned(id)).toEqual(['a v2', 'b v1', 'c v1'])
  await s.pass(4, other)
  expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v1'])
  await s.sync(nodes)
  await one.look()
  expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v1'])
  await s.pass(1, other)
  expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v2'])
  await other.close()
  const lease = await s.db.get('SELECT holder, epoch FROM leases')
  expect(lease).toEqual({ holder: null, epoch: 2 })
})

test('a lease is taken only from who gave no beat for its whole time, by the clock of who takes it', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  const clocks = { one: 1_000_000, other: 5 }
  const of = (place: keyof typeof clocks) =>
    new Lease({ db, name: 'work', place, monotonicMs: () => clocks[place] })
  const [one, other] = [of('one'), of('other')]
  expect(await one.hold()).toBe(true)
  for (let round = 0; round < 5; round += 1) {
    expect(await other.hold()).toBe(false)
    clocks.other += leaseMs - 1
    clocks.one += leaseMs - 1
    expect(await one.hold()).toBe(true)
  }
  // One's process is stopped: no time passes for it.
  expect(await other.hold()).toBe(false)
  clocks.other += leaseMs
  expect(await other.hold()).toBe(true)
  expect(await one.hold()).toBe(true)
  const written = db.write(async (tx) => {
    await one.fence(tx)
    await tx.run("UPDATE leases SET beats = 99 WHERE name = 'work'")
  })
  expect(await written.catch((thrown: unknown) => thrown)).toBeInstanceOf(LeaseLost)
  expect(await db.get('SELECT holder, epoch, beats FROM leases')).toMatchObject({
    ...{ holder: expect.stringMatching(/^other\//), epoch: 2 },
  })
  await db.write((tx) => other.fence(tx))
  expect(await one.hold()).toBe(false)
  // The process that runs where the other did knows that it is gone.
  const next = of('other')
  expect(await next.hold()).toBe(true)
  expect(await one.hold()).toBe(false)
  await next.release()
  expect(await one.hold()).toBe(true)
})

test('of many that want a lease at once one gets it', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  for (let round = 0; round < 3; round += 1) {
    const leases = Array.from({ length: 8 }, (_, index) => {
      const place = `${round}-${index}`
      return new Lease({ db, name: 'work', place, monotonicMs: () => 0 })
    })
    const held = await Promise.all(leases.map((lease) => lease.hold()))
    expect(held.filter(Boolean)).toHaveLength(1)
    for (const lease of leases) await lease.release()
  }
})
