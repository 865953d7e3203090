/** Nodes: joining, credentials, leaving; and how long they count as alive. */

import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'

import { statusOf } from '../../../src/cp/nodes/life.ts'
import { Liveness } from '../../../src/cp/nodes/liveness.ts'
import type { JoinTokenView, NodeCredentials, NodeView } from '../../../src/protocol/api.ts'
import type { NodeId, PopId } from '../../../src/protocol/ids.ts'
import {
  decodeMessage,
  heartbeatSchema,
  type EventMessage,
} from '../../../src/protocol/messages.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { heartbeatOf, testPlane, type ErrorAnswer } from '../api/test-plane.ts'
import { insertNode } from '../auth/stack.ts'
import { tempDatabase } from '../db/temp-database.ts'

const silent = createLog({ component: 'test', level: 'error', write: () => undefined })
const registration = { version: '1', os: 'linux', arch: 'x64', http_port: 8787 }

describe('joining', () => {
  test('takes a join token once, for its own POP, and says the whole command', async () => {
    await using cp = await testPlane()
    const join = await cp.must<JoinTokenView>('POST', '/join-tokens', { pop_id: 'tokyo-1' })
    expect(join.command).toBe(
      `edgefn edge --pop tokyo-1 --cp ${cp.plane().api_url} --token ${join.token} --data-dir /var/lib/edgefn`,
    )
    const register = (pop_id: string, node_id = 'n1') =>
      cp.call<ErrorAnswer>(
        'POST',
        '/nodes/register',
        { ...registration, pop_id, node_id },
        join.token,
      )
    expect((await register('osaka-1')).body.error.code).toBe('forbidden')
    expect((await register('tokyo-1')).status).toBe(201)
    expect((await register('tokyo-1', 'n2')).body.error.code).toBe('unauthenticated')
    const withKey = await cp.call('POST', '/nodes/register', { ...registration, pop_id: 'tokyo-1' })
    expect(withKey.status).toBe(403)
  })

  test('answers a registration again for the same nonce, because its answer may have been lost', async () => {
    await using cp = await testPlane()
    const join = await cp.must<JoinTokenView>('POST', '/join-tokens', { pop_id: 'tokyo-1' })
    const register = (nonce: string) =>
      cp.call<NodeCredentials & ErrorAnswer>(
        'POST',
        '/nodes/register',
        { ...registration, pop_id: 'tokyo-1', nonce },
        join.token,
      )
    const lost = await register('a'.repeat(43))
    const again = await register('a'.repeat(43))
    expect([lost.status, again.status]).toEqual([201, 201])
    expect(again.body.node_id).toBe(lost.body.node_id)
    const { items } = await cp.must<{ items: NodeView[] }>('GET', '/nodes')
    expect(items).toHaveLength(1)
    const path = `/nodes/${lost.body.node_id}/sync?revision=0`
    expect((await cp.call('GET', path, undefined, lost.body.token)).status).toBe(401)
    expect((await cp.call('GET', path, undefined, again.body.token)).status).toBe(200)
    expect((await register('b'.repeat(43))).body.error.code).toBe('unauthenticated')
    expect((await cp.call('DELETE', `/nodes/${lost.body.node_id}`)).status).toBe(204)
    expect((await register('a'.repeat(43))).body.error.code).toBe('unauthenticated')
  })

  test('again under the same id replaces the credentials, and never across POPs', async () => {
    await using cp = await testPlane()
    const first = await cp.addNode('tokyo-1', 'box')
    await cp.addFunction('hello')
    await cp.deploy('hello')
    await cp.syncNode(first, 0)
    const second = await cp.addNode('tokyo-1', 'box')
    const path = '/nodes/box/sync?revision=9'
    expect((await cp.call('GET', path, undefined, first.token)).status).toBe(401)
    const plan = await cp.must<{ full: boolean; actions: unknown[] }>(
      'GET',
      path,
      undefined,
      second.token,
    )
    expect(plan.full).toBe(true)
    expect(plan.actions).toHaveLength(1)
    await expect(cp.addNode('osaka-1', 'box')).rejects.toThrow('exists in POP tokyo-1')
  })

  test('a token is renewed by its node, and the one before ends when the new one is used', async () => {
    await using cp = await testPlane()
    const node = await cp.addNode('tokyo-1')
    const path = `/nodes/${node.node_id}/token`
    const renewed = await cp.must<NodeCredentials>('POST', path, undefined, node.token)
    expect((await cp.call('POST', path, undefined, renewed.token)).status).toBe(201)
    expect((await cp.call('POST', path, undefined, node.token)).status).toBe(401)
  })

  test('a node whose renewal is never answered keeps its token', async () => {
    await using cp = await testPlane()
    const node = await cp.addNode('tokyo-1')
    const path = `/nodes/${node.node_id}/token`
    const lost = await cp.must<NodeCredentials>('POST', path, undefined, node.token)
    const renewed = await cp.must<NodeCredentials>('POST', path, undefined, node.token)
    // Of those that were issued, only the newest can take over.
    expect((await cp.call('POST', path, undefined, lost.token)).status).toBe(401)
    expect((await cp.call('POST', path, undefined, renewed.token)).status).toBe(201)
    expect((await cp.call('POST', path, undefined, node.token)).status).toBe(401)
  })

  test('a node that registers again ends a renewed token that was never used', async () => {
    await using cp = await testPlane()
    const node = await cp.addNode('tokyo-1', 'box')
    const path = `/nodes/${node.node_id}/token`
    const renewed = await cp.must<NodeCredentials>('POST', path, undefined, node.token)
    const second = await cp.addNode('tokyo-1', 'box')
    for (const { token } of [node, renewed]) {
      expect((await cp.call('POST', path, undefined, token)).status).toBe(401)
    }
    expect((await cp.call('POST', path, undefined, second.token)).status).toBe(201)
  })

  test('nobody acts for a node but the node', async () => {
    await using cp = await testPlane()
    const [a, b] = [await cp.addNode('tokyo-1'), await cp.addNode('tokyo-1')]
    const beat = (path: string, bearer: string, nodeId: string) =>
      cp.call<ErrorAnswer>('POST', `/nodes/${path}/heartbeat`, heartbeatOf(nodeId), bearer)
    expect((await beat(a.node_id, b.token, a.node_id)).status).toBe(403)
    expect((await beat(a.node_id, cp.key, a.node_id)).status).toBe(403)
    const wrong = await beat(a.node_id, a.token, b.node_id)
    expect([wrong.status, wrong.body.error.code]).toEqual([400, 'invalid_field'])
    expect((await cp.call('GET', `/nodes/${a.node_id}/sync`, undefined, b.token)).status).toBe(403)
    expect((await cp.call('GET', '/nodes', undefined, a.token)).status).toBe(403)
    expect((await cp.call('DELETE', `/nodes/${a.node_id}`, undefined, a.token)).status).toBe(403)
  })

  test('nodes are listed by page, POP and status', async () => {
    await using cp = await testPlane()
    for (const [pop, id] of [
      ['tokyo-1', 'a'],
      ['tokyo-1', 'b'],
      ['osaka-1', 'c'],
    ] as const) {
      await cp.addNode(pop, id)
    }
    type Page = { items: NodeView[]; next_cursor: string | null }
    const ids = async (query: string) =>
      (await cp.must<Page>('GET', `/nodes${query}`)).items.map((node) => String(node.id))
    expect(await ids('?pop=tokyo-1')).toEqual(['a', 'b'])
    expect(await ids('?status=online')).toEqual([])
    expect(await ids('?limit=2')).toEqual(['a', 'b'])
    expect(await ids('?limit=2&cursor=b')).toEqual(['c'])
    expect((await cp.call('GET', '/nodes?status=alive')).status).toBe(400)
  })
})

describe('being alive', () => {
  test('two missed heartbeats make a node degraded, three offline, whatever the wall clock says', () => {
    const online = { said: 'online', seen_ms: 0 } as const
    expect(statusOf(online, 1999, 1000)).toBe('online')
    expect(statusOf(online, 2000, 1000)).toBe('degraded')
    expect(statusOf(online, 3000, 1000)).toBe('offline')
    expect(statusOf({ said: 'degraded', seen_ms: 0 }, 0, 1000)).toBe('degraded')
    expect(statusOf({ said: 'offline', seen_ms: 0 }, 0, 1000)).toBe('offline')
    expect(statusOf({ said: 'online', seen_ms: null }, 0, 1000)).toBe('offline')
  })

  test('beats are written in batches, changes of status at once, and both are told', async () => {
    await using temp = await tempDatabase()
    const { db } = temp
    let writes = 0
    let nowMs = 0
    const events: EventMessage[] = []
    await insertNode(temp, 'a', '')
    await db.run(`UPDATE nodes SET status = 'offline'`)
    const counting: typeof db = {
      ...db,
      write: (work) => {
        writes += 1
        return db.write(work)
      },
    }
    const liveness = new Liveness({
      db: counting,
      log: silent,
      publishEvent: (event) => void events.push(event),
      heartbeat_ms: 1_000_000,
      monotonicMs: () => nowMs,
    })
    await liveness.open()
    const stored = async () => (await db.get('SELECT status, cpu_percent FROM nodes')) ?? {}
    for (let beats = 0; beats < 100; beats += 1) {
      liveness.beat(heartbeatOf('a', { cpu_percent: beats }))
    }
    await liveness.flush()
    expect(await stored()).toEqual({ status: 'online', cpu_percent: 99 })
    expect(writes).toBeLessThanOrEqual(2)
    nowMs = 2_000_000
    liveness.look()
    await liveness.flush()
    nowMs = 3_000_000
    liveness.look()
    await liveness.flush()
    expect(await stored()).toMatchObject({ status: 'offline' })
    const statuses = events.map((event) => (event.type === 'node' ? event.status : null))
    expect(statuses).toEqual(['online', 'degraded', 'offline'])
    liveness.joined('a' as NodeId, 'tokyo-1' as PopId)
    liveness.beat(heartbeatOf('unknown'))
    expect(liveness.counts()).toEqual({ online: 0, degraded: 0, offline: 1 })
    await liveness.close()
  })
})

test('P13: a heartbeat carries node id, status, CPU, memory and functions, and is refused without any of them', () => {
  const functions = fc.array(
    fc.record({
      function_id: fc.uuid({ version: 7 }),
      version: fc.integer({ min: 1, max: 1000 }),
      state: fc.constantFrom('serving', 'cached', 'failed', 'quarantined'),
      breaker: fc.constantFrom('closed', 'open', 'half_open'),
      reason: fc.constantFrom(null, 'It ended three workers.'),
      invocation_count: fc.nat(),
      error_count: fc.nat(),
      avg_latency_ms: fc.double({ min: 0, max: 1e6, noNaN: true }),
    }),
    { maxLength: 5 },
  )
  const beats = fc.record({
    node_id: fc.constantFrom('a', 'tokyo-1-0a1b2c3d'),
    status: fc.constantFrom('online', 'degraded', 'offline'),
    cpu_percent: fc.double({ min: 0, max: 100, noNaN: true }),
    mem_bytes: fc.maxSafeNat(),
    functions,
    revision: fc.nat(),
    version: fc.string({ maxLength: 20 }),
    uptime_seconds: fc.nat(),
    cache_bytes: fc.maxSafeNat(),
    workers: fc.nat(64),
    sent_at: fc
      .date({ min: new Date(0), max: new Date(4e12), noInvalidDate: true })
      .map((at) => at.toISOString()),
  })
  fc.assert(
    fc.property(beats, (beat) => {
      const text = JSON.stringify(beat)
      expect(decodeMessage(heartbeatSchema, text)).toEqual(JSON.parse(text))
      for (const key of Object.keys(beat)) {
        const { [key as keyof typeof beat]: _left, ...rest } = beat
        expect(decodeMessage(heartbeatSchema, JSON.stringify(rest))).toBeNull()
      }
      expect(decodeMessage(heartbeatSchema, JSON.stringify({ ...beat, more: 1 }))).toBeNull()
    }),
    { numRuns: 200 },
  )
})
