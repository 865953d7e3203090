/** Rollouts on the real binary: a version that fails only sometimes, a good one with the control plane killed, a dead node, and a roll-back. */

import { Database } from 'bun:sqlite'
import { join } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'bun:test'

import type { DeploymentView, RegistrationView } from '../../src/protocol/api.ts'
import type { DeploymentPlanView } from '../../src/protocol/rollout.ts'
import type { WebhookCreated } from '../../src/protocol/webhooks.ts'
import { receiver } from '../cp/webhooks/receiver.ts'
import { numberGuest } from '../edge/worker/runtime/wat.ts'
import { ControlPlane, Node, startLoad, until, World } from './harness.ts'

let world: World
let plane: ControlPlane
let nodes: Node[]

/** Answers its number, but traps with every third call. */
const flaky = (version: number) =>
  numberGuest(
    `(block (result i32)
       (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
       (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const 3))) (then (unreachable)))
       (i32.const ${version}))`,
    '(global $calls (mut i32) (i32.const 0))',
  )
const good = (version: number) => numberGuest(`(i32.const ${version})`)

async function upload(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const made = await plane.api<RegistrationView>('POST', '/functions', { name: 'rolled' })
  const { ok } = await fetch(made.upload_url, { method: 'PUT', body: bytes })
  expect(ok).toBe(true)
}

const deploy = (fields: Record<string, unknown>) =>
  plane.api<DeploymentView>('POST', '/functions/rolled/deploy', fields)
const show = (id: string) => plane.api<DeploymentView>('GET', `/deployments/${id}`)
const ended = (id: string) =>
  until('the rollout has ended', async () => {
    const view = await show(id)
    return view.rollout.phase === 'ended' && view.status !== 'in_progress' ? view : null
  })

/** What each node answers. */
const answers = () =>
  Promise.all(nodes.map(async (node) => Number(await (await node.get('/rolled')).text())))
const allAnswer = (version: number) =>
  until(`all nodes answer ${version}`, async () =>
    (await answers()).every((answer) => answer === version),
  )
/** As it comes in an answer. */
const flakyAnswer = '0000000002'

const canary = {
  strategy: 'canary',
  canary: { steps: [{ nodes: 1 }, { nodes: '100%' }] },
  gates: { error_rate_max: 0.05, min_samples: 20, window_seconds: 6 },
  step_timeout_seconds: 60,
}

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  const flags = ['--telemetry-interval', '200ms', '--workers', '1']
  nodes = await Promise.all(
    ['tokyo-1', 'tokyo-2', 'osaka-1'].map(async (pop) =>
      (await Node.create(world, plane, { id: `${pop}-a`, pop, flags })).start(),
    ),
  )
  await upload(good(1))
  await plane.api('POST', '/routes', { path: '/rolled', path_type: 'exact', function: 'rolled' })
  await deploy({})
  await allAnswer(1)
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

test('P26: a version that fails only sometimes is stopped on its first node, with the numbers, and is gone', async () => {
  await using told = receiver()
  const fields = { url: told.url, events: ['rollout.gate_failed'] }
  told.secret = (await plane.api<WebhookCreated>('POST', '/webhooks', fields)).secret
  await upload(flaky(2))
  const plan = await plane.api<DeploymentPlanView>('POST', '/functions/rolled/plan', canary)
  expect(plan.nodes.map((node) => node.step)).toEqual([1, 2, 2])
  const loads = nodes.map((node) => startLoad(`${node.url}/rolled`, 2))
  const begun = await deploy({ ...canary, check_index: plan.index })
  const view = await ended(begun.id)
  await allAnswer(1)
  const reports = await Promise.all(loads.map((load) => load.stop()))
  expect(view.status).toBe('rolled_back')
  const first = plan.nodes[0]?.node_id
  expect(view.rollout.evidence).toMatchObject({
    ...{ gate: 'error_rate', step: 1, threshold: 0.05 },
    nodes: [{ node_id: first }],
  })
  expect(view.rollout.evidence?.measured).toBeGreaterThan(0.2)
  expect(view.rollout.evidence?.requests).toBeGreaterThanOrEqual(20)
  await until('the webhook is told', () => told.received.length > 0)
  const event = { deployment_id: begun.id, evidence: { gate: 'error_rate' } }
  expect(told.received).toMatchObject([{ genuine: true, kind: 'rollout.gate_failed', event }])
  for (const [index, { failures, seen }] of reports.entries()) {
    if (nodes[index]?.id === first) expect(seen.get(flakyAnswer)).toBeGreaterThan(0)
    else expect([failures, seen.get(flakyAnswer)]).toEqual([[], undefined])
  }
}, 120_000)

test('a good version reaches all nodes in steps, though the control plane is killed in the middle', async () => {
  await upload(good(3))
  const loads = nodes.map((node) => startLoad(`${node.url}/rolled`, 1))
  const begun = await deploy(canary)
  await until('the window is open', async () => (await show(begun.id)).rollout.window_ms !== null)
  await plane.stop('SIGKILL')
  expect(new Set(await answers())).toEqual(new Set([1, 3]))
  await plane.start()
  const view = await ended(begun.id)
  expect(view).toMatchObject({ status: 'completed', rollout: { step: 2, evidence: null } })
  await allAnswer(3)
  const reports = await Promise.all(loads.map((load) => load.stop()))
  expect(reports.flatMap(({ failures }) => failures)).toEqual([])
}, 120_000)

test('a dead node holds nothing up and gets its version when it is back; a roll-back reaches all of them', async () => {
  const dead = nodes[1]
  if (dead === undefined) throw new Error('Three nodes were started.')
  await upload(good(4))
  await dead.stop('SIGKILL')
  await until('the node is offline', async () => {
    const { status } = await plane.api<{ status: string }>('GET', `/nodes/${dead.id}`)
    return status === 'offline'
  })
  const begun = await deploy({ strategy: 'rolling', rolling: { batch: 1 } })
  const view = await ended(begun.id)
  expect(view.status).toBe('completed')
  expect(view.targets.find((target) => target.node_id === dead.id)?.state).toBe('pending')
  await dead.start()
  await allAnswer(4)
  const back = await plane.api<DeploymentView>('POST', '/functions/rolled/rollback', {})
  expect(back).toMatchObject({ version: 3, rollout: { kind: 'rollback' } })
  await allAnswer(3)
}, 120_000)

test('a version that fails only sometimes is rolled back, though the control plane is killed ten times meanwhile', async () => {
  await upload(flaky(5))
  const loads = nodes.map((node) => startLoad(`${node.url}/rolled`, 2))
  const gates = { ...canary.gates, window_seconds: 1 }
  const begun = await deploy({ ...canary, gates })
  for (let kills = 0; kills < 10; kills++) {
    await Bun.sleep(Math.random() * 1500) // It may not even be ready.
    await plane.stop('SIGKILL')
    void plane.start().catch(() => {})
  }
  const view = await ended(begun.id)
  await allAnswer(3)
  const reports = await Promise.all(loads.map((load) => load.stop()))
  expect(view).toMatchObject({
    status: 'rolled_back',
    rollout: { step: 1, evidence: { gate: 'error_rate', step: 1 } },
  })
  const ran = reports.filter(({ seen }) => seen.has('0000000005'))
  expect(ran).toHaveLength(1)
  for (const { failures } of reports.filter((report) => !ran.includes(report))) {
    expect(failures).toEqual([])
  }
  expect(await plane.cli('audit', 'verify')).toMatchObject({ code: 0 })
  await plane.stop('SIGKILL')
  using database = new Database(join(plane.dataDir, 'edgefn.db'))
  expect(database.query('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }])
}, 120_000)
