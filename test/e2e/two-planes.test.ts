/** Two control planes on one database: one drives rollouts; when it is killed the other goes on. Nodes are simulated over HTTP. */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import type { DeploymentView, NodeCredentials, RegistrationView } from '../../src/protocol/api.ts'
import type { Plan } from '../../src/protocol/plan.ts'
import { ackOf } from '../cp/api/test-plane.ts'
import { numberGuest } from '../edge/worker/runtime/wat.ts'
import { type ControlPlane, type Page, until, World } from './harness.ts'
import { startPair, type Pair } from './pair.ts'

let world: World
let planes: Pair
const credentials: NodeCredentials[] = []

async function asNode<T>(
  plane: ControlPlane,
  token: string,
  method: string,
  path: string,
  body?: unknown,
) {
  const response = await fetch(`${plane.url}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
  return (text === '' ? null : JSON.parse(text)) as T
}

/** All nodes do what they are to do, at that control plane. */
async function sync(plane: ControlPlane): Promise<void> {
  for (const { node_id, token } of credentials) {
    const plan = await asNode<Plan>(plane, token, 'GET', `/nodes/${node_id}/sync?revision=0`)
    await asNode(plane, token, 'POST', `/nodes/${node_id}/sync/ack`, ackOf(plan))
  }
}

beforeAll(async () => {
  world = new World()
  planes = await startPair(world)
  const [first, second] = planes
  expect(second.key).toBe(first.key)
  for (const version of [1, 2]) {
    const made = await first.api<RegistrationView>('POST', '/functions', { name: 'shared' })
    const module = numberGuest(`(i32.const ${version})`)
    expect((await fetch(made.upload_url, { method: 'PUT', body: module })).ok).toBe(true)
  }
  for (const [index, pop] of ['a', 'b', 'c'].entries()) {
    const token = await first.joinToken(pop)
    const about = { pop_id: pop, version: '1', os: 'linux', arch: 'x64', http_port: 1 }
    const made = await asNode<NodeCredentials>(
      planes[index % 2 === 0 ? 0 : 1],
      ...([token, 'POST', '/nodes/register', { ...about, node_id: `n-${pop}` }] as const),
    )
    credentials.push(made)
  }
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

test('a rollout goes on at the other control plane within the time of the lease, and ends once', async () => {
  const [first, second] = planes
  await first.api('POST', '/functions/shared/deploy', { version: 1 })
  await sync(second)
  const rolling = { strategy: 'rolling', rolling: { batch: 1, pause_seconds: 1 }, version: 2 }
  // Nodes that say nothing over HTTP are offline; the heartbeat makes them online.
  for (const { node_id, token } of credentials) await beat(first, node_id, token)
  await until('the nodes are online', async () => {
    const { items } = await first.api<Page<unknown>>('GET', '/nodes?status=online')
    return items.length === 3
  })
  const begun = await second.api<DeploymentView>('POST', '/functions/shared/deploy', rolling)
  const step = async (plane: ControlPlane) =>
    (await plane.api<DeploymentView>('GET', `/deployments/${begun.id}`)).rollout.step
  expect(await step(first)).toBe(1)
  await sync(first)
  await until('the second step has begun', async () => (await step(first)) === 2)
  const drives = (plane: ControlPlane) => plane.output.includes('A rollout went on.')
  expect(planes.filter(drives)).toHaveLength(1)
  const [holder, other] = drives(first) ? [first, second] : [second, first]
  await holder.stop('SIGKILL')
  await sync(other)
  await until('the third step has begun', async () => (await step(other)) === 3)
  await holder.start()
  await sync(holder)
  const view = await until('it is completed', async () => {
    const shown = await holder.api<DeploymentView>('GET', `/deployments/${begun.id}`)
    return shown.status === 'completed' ? shown : null
  })
  expect(view.targets.map((target) => target.state)).toEqual(['deployed', 'deployed', 'deployed'])
}, 120_000)

function beat(plane: ControlPlane, node_id: string, token: string) {
  return asNode(plane, token, 'POST', `/nodes/${node_id}/heartbeat`, {
    ...{ node_id, status: 'online', cpu_percent: 1, mem_bytes: 1, functions: [], revision: 0 },
    ...{ version: '1', uptime_seconds: 1, cache_bytes: 0, workers: 1 },
    sent_at: new Date().toISOString(),
  })
}
