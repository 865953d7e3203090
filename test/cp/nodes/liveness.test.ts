/** Liveness where several control planes share a database: each hears some of the nodes, none calls dead whom another hears. */

import { expect, test } from 'bun:test'

import { Liveness } from '../../../src/cp/nodes/liveness.ts'
import { getNode } from '../../../src/cp/nodes/store.ts'
import type { NodeId, PopId } from '../../../src/protocol/ids.ts'
import type { EventMessage, NodeStatus } from '../../../src/protocol/messages.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { heartbeatOf } from '../api/test-plane.ts'
import { insertNode } from '../auth/stack.ts'
import { tempDatabase } from '../db/temp-database.ts'

const silent = createLog({ component: 'test', level: 'error', write: () => undefined })

type Temp = Awaited<ReturnType<typeof tempDatabase>>

async function plane(temp: Temp) {
  const clock = { ms: 0 }
  const events: EventMessage[] = []
  const liveness = new Liveness({
    db: temp.db,
    log: silent,
    publishEvent: (event) => void events.push(event),
    heartbeat_ms: 1_000_000,
    monotonicMs: () => clock.ms,
  })
  await liveness.open()
  const shown = async (): Promise<NodeStatus | null> => {
    const row = await getNode(temp.db, 'a' as NodeId)
    return row === null ? null : liveness.statusIn(row)
  }
  const pass = async (ms: number) => {
    clock.ms += ms
    liveness.look()
    await liveness.flush()
  }
  return { liveness, events, shown, pass }
}

test('a node that moves to another control plane is not called offline by the one it left', async () => {
  await using temp = await tempDatabase()
  await insertNode(temp, 'a', '')
  await temp.db.run(`UPDATE nodes SET status = 'offline'`)
  const left = await plane(temp)
  const hears = await plane(temp)
  left.liveness.beat(heartbeatOf('a'))
  await left.liveness.flush()
  await Bun.sleep(5)
  hears.liveness.beat(heartbeatOf('a'))
  await hears.liveness.flush()
  await left.pass(2_500_000)
  await Bun.sleep(5)
  hears.liveness.beat(heartbeatOf('a'))
  await hears.liveness.flush()
  await left.pass(3_500_000)
  expect([await left.shown(), await hears.shown()]).toEqual(['online', 'online'])

  // The will of a connection that another has taken over says nothing either.
  await Bun.sleep(5)
  hears.liveness.beat(heartbeatOf('a'))
  await hears.liveness.flush()
  left.liveness.said('a' as NodeId, 'offline')
  await left.liveness.flush()
  expect(await left.shown()).toBe('online')

  await hears.pass(3_000_001)
  await left.pass(4_000_000)
  expect([await left.shown(), await hears.shown()]).toEqual(['offline', 'offline'])
  const statuses = [...left.events, ...hears.events].map((event) =>
    event.type === 'node' ? event.status : null,
  )
  // Each change once, by whoever wrote it.
  expect(statuses).toEqual(['online', 'offline'])
  await left.liveness.close()
  await hears.liveness.close()
})

test('a node that another control plane took in is known with its first beat, and a deleted one is forgotten', async () => {
  await using temp = await tempDatabase()
  const { liveness, events, shown, pass } = await plane(temp)
  await insertNode(temp, 'a', '')
  await temp.db.run(`UPDATE nodes SET status = 'offline'`)
  liveness.beat(heartbeatOf('a'))
  await liveness.flush()
  await liveness.flush()
  expect([await shown(), liveness.counts().online]).toEqual(['online', 1])
  await temp.db.run('DELETE FROM nodes')
  await pass(3_000_001)
  expect(liveness.counts()).toEqual({ online: 0, degraded: 0, offline: 0 })
  expect(events.map((event) => (event.type === 'node' ? event.status : null))).toEqual(['online'])
  await liveness.close()
})

test('what a deleted node said last is not written to the one that comes under its id', async () => {
  await using temp = await tempDatabase()
  const { liveness, events } = await plane(temp)
  const comes = async () => {
    await insertNode(temp, 'a', '')
    await temp.db.run(`UPDATE nodes SET status = 'offline', last_heartbeat = NULL`)
    liveness.joined('a' as NodeId, 'p' as PopId)
  }
  await comes()
  liveness.beat(heartbeatOf('a'))
  await temp.db.run('DELETE FROM nodes')
  liveness.forget('a' as NodeId)
  await comes()
  await liveness.flush()
  const stored = await getNode(temp.db, 'a' as NodeId)
  expect(stored).toMatchObject({ status: 'offline', last_heartbeat: null })
  expect(events).toEqual([])
  liveness.beat(heartbeatOf('a'))
  await liveness.flush()
  expect((await getNode(temp.db, 'a' as NodeId))?.status).toBe('online')
  expect(events).toMatchObject([{ status: 'online' }])
  await liveness.close()
})

test('a node that comes back to the control plane that did not hear it go is told of as online', async () => {
  await using temp = await tempDatabase()
  await insertNode(temp, 'a', '')
  await temp.db.run(`UPDATE nodes SET status = 'offline'`)
  const left = await plane(temp)
  const hears = await plane(temp)
  hears.liveness.beat(heartbeatOf('a'))
  await hears.liveness.flush()
  await Bun.sleep(5)
  left.liveness.beat(heartbeatOf('a'))
  await left.liveness.flush()
  left.liveness.said('a' as NodeId, 'offline')
  await left.liveness.flush()
  expect(left.events).toMatchObject([{ status: 'offline' }])
  await Bun.sleep(5)
  // Here it never was anything but online.
  hears.liveness.beat(heartbeatOf('a'))
  await hears.liveness.flush()
  expect((await getNode(temp.db, 'a' as NodeId))?.status).toBe('online')
  expect(hears.events).toMatchObject([{ status: 'online' }, { status: 'online' }])
  hears.liveness.beat(heartbeatOf('a'))
  await hears.liveness.flush()
  expect(hears.events).toHaveLength(2)
  await left.liveness.close()
  await hears.liveness.close()
})

test.each([-300_000, 300_000])(
  'the clock of another control plane may differ by %d ms: its nodes are as it says, until it writes no more',
  async (aheadMs) => {
    await using temp = await tempDatabase()
    await insertNode(temp, 'a', '')
    await temp.db.run(`UPDATE nodes SET status = 'offline'`)
    const here = await plane(temp)
    const heardThere = (beats: number) =>
      temp.db.run(`UPDATE nodes SET status = 'online', last_heartbeat = ?`, [
        new Date(Date.now() + aheadMs + beats).toISOString(),
      ])
    for (let beats = 1; beats <= 4; beats += 1) {
      await heardThere(beats)
      await here.liveness.lookAtOthers()
      expect(await here.shown()).toBe('online')
      await here.pass(1_500_000)
    }
    expect(here.events).toEqual([])
    await here.pass(1_600_000)
    expect([await here.shown(), here.events.length]).toEqual(['offline', 1])
    // It comes back here, and moves again.
    here.liveness.beat(heartbeatOf('a'))
    await here.liveness.flush()
    expect(await here.shown()).toBe('online')
    await heardThere(9)
    await here.pass(2_900_000)
    await heardThere(10)
    await here.pass(2_900_000)
    expect([await here.shown(), here.events.length]).toEqual(['online', 2])
    await here.liveness.close()
  },
)

test.each(['online', 'offline'])(
  'a node that is %s and deleted elsewhere is forgotten',
  async (status) => {
    await using temp = await tempDatabase()
    await insertNode(temp, 'a', '')
    await temp.db.run('UPDATE nodes SET status = ?', [status])
    const { liveness } = await plane(temp)
    expect(Object.values(liveness.counts()).reduce((sum, count) => sum + count)).toBe(1)
    await temp.db.run('DELETE FROM nodes')
    await liveness.lookAtOthers()
    expect(liveness.counts()).toEqual({ online: 0, degraded: 0, offline: 0 })
    expect(liveness.knows('a' as NodeId)).toBe(false)
    await liveness.close()
  },
)
