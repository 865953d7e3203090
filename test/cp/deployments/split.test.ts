/** Traffic splits as the control plane records them and as plans, notices and views carry them. */

import { expect, test } from 'bun:test'

import { noticeOf } from '../../../src/cp/outbox/payload.ts'
import { deploymentCreationSchema } from '../../../src/protocol/api.ts'
import type { DeploymentView, NodeDetail } from '../../../src/protocol/api.ts'
import { noticeSchema } from '../../../src/protocol/messages.ts'
import type { Action } from '../../../src/protocol/plan.ts'
import { heartbeatOf, testPlane, type ErrorAnswer } from '../api/test-plane.ts'
import { developer, slices } from './slices.ts'

const SPLIT = [
  { version: 2, weight: 10 },
  { version: 1, weight: 90 },
]
const ASCENDING = [
  { version: 1, weight: 90 },
  { version: 2, weight: 10 },
]

function putOf(actions: readonly Action[]) {
  const found = actions.find((action) => action.action === 'put_function')
  if (found?.action !== 'put_function') throw new Error('The plan puts no function.')
  return found.function
}

test('a split reaches nodes with a manifest for each version, is acknowledged as a whole, and ends with the next deployment', async () => {
  await using cp = await testPlane()
  await cp.addFunction('hello', { env: { A: '1' } })
  await cp.addFunction('hello', { env: { A: '2' } })
  const node = await cp.addNode('tokyo-1')
  const begun = await cp.deploy('hello', { versions: SPLIT, sticky: { header: 'X-User' } })
  expect(begun).toMatchObject({
    version: 1,
    split: { sticky: { header: 'x-user' }, versions: ASCENDING },
  })
  const plan = await cp.syncNode(node, 0)
  const put = putOf(plan.actions)
  expect(put).toMatchObject({ version: 1, env: { A: '1' }, deployment_id: begun.id })
  expect(put.split).toMatchObject({
    sticky: { header: 'x-user' },
    weight: 90,
    arms: [{ weight: 10, function: { version: 2, env: { A: '2' }, deployment_id: begun.id } }],
  })
  expect(put.split?.arms[0]?.function).not.toHaveProperty('split')
  const done = await cp.must<DeploymentView>('GET', `/deployments/${begun.id}`)
  expect(done.status).toBe('completed')
  const beat = (calls: readonly (readonly [number, number])[]) =>
    heartbeatOf(node.node_id, {
      functions: calls.map(([version, invocation_count]) => ({
        ...{ function_id: begun.function_id, version, state: 'serving' },
        ...{ invocation_count, error_count: 0, avg_latency_ms: 1 },
      })),
    })
  const path = `/nodes/${node.node_id}`
  await cp.must(
    'POST',
    `${path}/heartbeat`,
    beat([
      [1, 90],
      [2, 10],
    ]),
    node.token,
  )
  const shown = await cp.must<NodeDetail>('GET', path)
  expect(
    shown.functions.map((item) => [item.desired_version, item.version, item.invocation_count]),
  ).toEqual([
    [1, 1, 90],
    [2, 2, 10],
  ])
  // A node that joins gets what its neighbours have.
  const late = await cp.addNode('tokyo-1', 'tokyo-1-late')
  expect(putOf((await cp.syncNode(late, 0)).actions).split?.weight).toBe(90)
  const promoted = await cp.deploy('hello', { version: 2 })
  expect(promoted.split).toBeNull()
  const next = putOf((await cp.syncNode(node, plan.revision)).actions)
  expect(next.version).toBe(2)
  expect(next.split).toBeUndefined()
})

test('what a split may not be is refused by name', async () => {
  await using cp = await testPlane()
  await cp.addFunction('hello')
  await cp.addFunction('hello')
  await cp.must('POST', '/functions', { name: 'hello' })
  await cp.addNode('tokyo-1')
  const refusal = async (body: unknown) => {
    const { status, body: answer } = await cp.call<ErrorAnswer>(
      'POST',
      '/functions/hello/deploy',
      body,
    )
    return `${status} ${answer.error.code} ${answer.error.message}`
  }
  const weights = (...shares: number[]) =>
    shares.map((weight, index) => ({ version: index + 1, weight }))
  expect(await refusal({ versions: weights(90, 9) })).toMatch(/400 invalid_field .*sum to 100/)
  expect(await refusal({ versions: weights(100) })).toMatch(/400 invalid_field .*versions/)
  expect(await refusal({ versions: [SPLIT[0], SPLIT[0]] })).toMatch(/400 invalid_field .*versions/)
  expect(await refusal({ versions: weights(...Array<number>(10).fill(10)) })).toMatch(/at most 8/)
  expect(await refusal({ version: 1, versions: SPLIT })).toMatch(
    /400 invalid_field version must not/,
  )
  expect(await refusal({ sticky: 'client' })).toMatch(/400 invalid_field sticky must not/)
  expect(await refusal({ versions: SPLIT, sticky: { header: 'a b' } })).toMatch(
    /400 invalid_field .*sticky/,
  )
  expect(
    await refusal({
      versions: [
        { version: 1, weight: 50 },
        { version: 9, weight: 50 },
      ],
    }),
  ).toMatch(/404 version_not_found/)
  // Uploaded never.
  expect(
    await refusal({
      versions: [
        { version: 1, weight: 99 },
        { version: 3, weight: 1 },
      ],
    }),
  ).toMatch(/409 module_missing/)
})

test('the notice of a split is one of the protocol, and has all of its versions', async () => {
  await using cp = await slices()
  const node = await cp.addNode('n1', 'tokyo-1')
  const id = await cp.addFunction('hello', 2)
  await cp.deployments.deploy(developer, id, deploymentCreationSchema.parse({ versions: SPLIT }))
  const [row] = await cp.notices()
  if (row === undefined) throw new Error('Nothing was announced.')
  const notice = noticeSchema.parse(
    JSON.parse(JSON.stringify(await noticeOf(cp.db, row, cp.hooks.deployContent))),
  )
  expect(notice).toMatchObject({ type: 'deploy', version: 1, split: { weight: 90 } })
  expect(row.node_id).toBe(node)
})
