/** Rollouts from the command line, against a real control plane whose nodes are played. */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import { EXIT } from '../../src/cli/exit.ts'
import type { DeploymentView, NodeCredentials } from '../../src/protocol/api.ts'
import type { DeploymentPlanView } from '../../src/protocol/rollout.ts'
import {
  eventually,
  handlerModule,
  heartbeatOf,
  testPlane,
  type TestPlane,
} from '../cp/api/test-plane.ts'
import { runCaptured } from './capture.ts'

let cp: TestPlane
const nodes: NodeCredentials[] = []
let playing = true
let played: Promise<void>

beforeAll(async () => {
  cp = await testPlane()
  for (const id of ['a-1', 'a-2', 'b-1']) nodes.push(await cp.addNode(id.slice(0, 1), id))
  await cp.addFunction('hello')
  await cp.addFunction('hello')
  played = play()
})
afterAll(async () => {
  playing = false
  await played
  await cp[Symbol.asyncDispose]()
})

/** Every node is there and does what it is told. */
async function play(): Promise<void> {
  while (playing) {
    for (const node of nodes) {
      const beat = heartbeatOf(node.node_id)
      await cp.must('POST', `/nodes/${node.node_id}/heartbeat`, beat, node.token)
      await cp.syncNode(node, 0)
    }
    await Bun.sleep(50)
  }
}

const run = (...words: readonly string[]) =>
  runCaptured(words, { EDGEFN_CP: cp.plane().api_url, EDGEFN_API_KEY: cp.key })

async function status(): Promise<DeploymentView> {
  const { out } = await run('deployment', 'status', 'hello', '-o', 'json')
  return JSON.parse(out) as DeploymentView
}

test('a plan says what would change, and its index refuses what is no longer so', async () => {
  const words = ['hello', 'v1', '--strategy', 'canary', '--steps', '1,100%']
  const planned = await run('plan', ...words, '-o', 'json')
  const { index, nodes: planNodes, steps } = JSON.parse(planned.out) as DeploymentPlanView
  expect(steps.map((step) => step.nodes)).toEqual([1, 2])
  expect(planNodes).toHaveLength(3)
  expect((await run('plan', ...words)).out).toMatch(/a-1 +a +1 +\w+ +- +v1/)
  const done = await run('versions', 'deploy', 'hello', 'v1', '--check-index', `${index}`)
  expect(done.code).toBe(EXIT.ok)
  const late = await run('versions', 'deploy', 'hello', 'v1', '--check-index', `${index}`)
  expect(late).toMatchObject({ code: EXIT.refused })
})

test('a canary is watched, paused, resumed, promoted, and followed to its end', async () => {
  const gates = ['--window', '60s', '--min-samples', '1', '--error-rate-max', '5%']
  const begun = run('versions', 'deploy', 'hello', '2', '--strategy', 'canary', ...gates)
  await eventually(async () => (await status()).version === 2, 'the canary')
  expect((await run('deployment', 'pause', 'hello', '--message', 'lunch')).out).toContain('paused')
  const held = await begun
  expect(held.code).toBe(EXIT.notDeployed)
  expect(held.err).toContain('step 1 of 3: 1 node, acknowledged, errors <= 5 %')
  expect(held.err).toContain('paused at step 1 of 3 (requested)')
  expect(held.err).toContain('edgefn deployment resume hello')
  const shown = await run('deployments', 'status', 'hello')
  expect(shown.out).toContain('errors <= 5 %, 1 requests, 60 s')
  expect(shown.out).toContain('paused (requested), step 1 of')
  expect((await run('deployment', 'resume', 'hello')).out).toContain('running')
  const watched = run('deployment', 'status', 'hello', '--watch', '--timeout', '20s')
  await eventually(async () => {
    const { rollout } = await status()
    if (rollout.phase === 'ended') return true
    await run('deployment', 'promote', 'hello')
    return false
  }, 'the end')
  expect(await watched).toMatchObject({ code: EXIT.ok })
  expect((await run('deployment', 'abort', 'hello')).code).toBe(EXIT.refused)
})

test('a roll-back goes to the version before, or to the one that is named', async () => {
  const back = await run('rollback', 'hello', '--message', 'worse')
  expect(back).toMatchObject({ code: EXIT.ok })
  expect(back.out).toContain('rolled back to v1: completed')
  expect((await run('rollback', 'hello', '--to', 'v2')).out).toContain('to v2')
  expect((await run('deployment', 'show', (await status()).id)).code).toBe(EXIT.ok)
})

test('an aborted canary gives its nodes back what they ran, and the exit code says so', async () => {
  const words = ['versions', 'deploy', 'hello', '1', '--strategy', 'canary']
  const begun = run(...words)
  await eventually(async () => (await status()).strategy === 'canary', 'the canary')
  await run('deployment', 'abort', 'hello', '--message', 'no')
  const { code, err } = await begun
  expect(code).toBe(EXIT.notDeployed)
  expect(err).toContain('rolled back at step 1 of')
  expect(err).toContain('gate aborted, step 1: Aborted: no')
  expect(err).toContain('next: edgefn deployment status hello')
  const { out } = await run('deployment', 'status', 'hello')
  expect(out).toContain('Aborted: no')
})

test('a dry run of a file checks it, shows the plan, and leaves everything as it is', async () => {
  const file = `${cp.config.data_dir}/hello.wasm`
  await Bun.write(file, handlerModule)
  const before = await status()
  const words = ['deploy', file, '--name', 'hello', '--dry-run', '--strategy', 'rolling']
  const { code, out } = await run(...words)
  expect(code).toBe(EXIT.ok)
  expect(out).toContain('would be a new version after v2')
  expect(out).toMatch(/strategy +rolling, to all/)
  expect((await run('versions', 'show', 'hello', 'v3')).code).toBe(EXIT.refused)
  expect((await status()).id).toBe(before.id)
})

test('a rollout that too few requests came for, and one that a newer took the place of, are told apart', async () => {
  const words = ['versions', 'deploy', 'hello', 'v2', '--strategy', 'canary', '--window', '1s']
  const flags = ['--min-samples', '50', '--step-timeout', '2s', '--on-failure', 'stop']
  const { code, err } = await run(...words, ...flags)
  expect(code).toBe(EXIT.notDeployed)
  expect(err).toContain('(not_enough_samples)')
  expect(err).toContain('0 of the 50 requests')
  expect(err).toContain('edgefn deployment promote hello')
  const older = await status()
  expect(older.rollout).toMatchObject({ on_failure: 'stop', step_timeout_seconds: 2 })
  expect((await run('versions', 'deploy', 'hello', 'v1')).code).toBe(EXIT.ok)
  const seen = await run('deployment', 'status', older.id, '--watch')
  expect(seen.code).toBe(EXIT.notDeployed)
  expect(seen.err).toContain(`superseded by deployment ${(await status()).id}`)
})

test('flags of another strategy are refused by name', async () => {
  const refused = async (...flags: string[]) => {
    const { code, err } = await run('versions', 'deploy', 'hello', 'v1', ...flags)
    expect(code).toBe(EXIT.usage)
    return err
  }
  expect(await refused('--steps', '1')).toContain('--steps needs --strategy canary')
  expect(await refused('--batch', '2')).toContain('--batch needs --strategy rolling')
  expect(await refused('--on-failure', 'stop')).toContain('--on-failure needs --strategy')
  expect(await refused('--step-timeout', '5m')).toContain('--step-timeout needs --strategy')
  expect(await refused('--max-failed', 'x')).toContain('--max-failed')
  expect(await refused('--error-rate-max', '2')).toContain('--error-rate-max')
  expect((await run('deployment', 'status', 'nobody')).code).toBe(EXIT.refused)
})
