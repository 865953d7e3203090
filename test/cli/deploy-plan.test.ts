/** What `deploy` says it would make, and that a refused `--check-index` leaves nothing behind. */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import { EXIT } from '../../src/cli/exit.ts'
import type { DeploymentPlanView } from '../../src/protocol/rollout.ts'
import { handlerModule, testPlane, type TestPlane } from '../cp/api/test-plane.ts'
import { runCaptured } from './capture.ts'

let cp: TestPlane
let file: string

beforeAll(async () => {
  cp = await testPlane()
  file = `${cp.config.data_dir}/hello.wasm`
  await Bun.write(file, handlerModule)
})
afterAll(async () => {
  await cp[Symbol.asyncDispose]()
})

const run = (...words: readonly string[]) =>
  runCaptured(words, { EDGEFN_CP: cp.plane().api_url, EDGEFN_API_KEY: cp.key })

test('a dry run of a function that is not there says what would be created, and where', async () => {
  const words = ['deploy', file, '--name', 'fresh', '--dry-run', '--route', '/fresh/*']
  const nowhere = await run(...words)
  expect(nowhere.code).not.toBe(EXIT.ok)
  expect(nowhere.err).toContain('No edge nodes available')
  for (const id of ['a-1', 'b-1']) await cp.addNode(id.slice(0, 1), id)
  const { code, out } = await run(...words, '--target', 'a')
  expect(code).toBe(EXIT.ok)
  expect(out).toContain('the first version of fresh')
  expect(out).toContain('a-1 (a)')
  expect(out).not.toContain('b-1')
  expect(out).toContain('route /fresh/* would be created')
  const json = await run(...words, '-o', 'json')
  expect(JSON.parse(json.out)).toMatchObject({
    function: { id: null, name: 'fresh' },
    ...{ target: 'all', nodes: ['a-1', 'b-1'], new_routes: [{ path: '/fresh' }] },
  })
  expect((await run('functions', 'show', 'fresh')).code).toBe(EXIT.refused)
})

test('nodes that are cordoned are named, by a plan and by a deployment', async () => {
  const order = (type: string) =>
    cp.must('POST', '/nodes/c-2/commands', { type, params: {}, ttl_seconds: 60 })
  for (const id of ['c-1', 'c-2']) await cp.addNode('c', id)
  await cp.addNode('d', 'd-1')
  await cp.addFunction('passing')
  await order('cordon')
  const line = 'passed by: c-2 (cordoned)'
  const atC = ['--target', 'c']
  expect((await run('plan', 'passing', ...atC)).out).toContain(line)
  expect((await run('plan', 'passing', '--target', 'd')).out).not.toContain('passed by')
  const words = ['--name', 'passing', '--timeout', '1s', ...atC]
  expect((await run('deploy', file, ...words, '--dry-run')).out).toContain(line)
  expect((await run('deploy', file, ...words)).err).toContain(line)
  const again = await run('versions', 'deploy', 'passing', 'v1', '--timeout', '1s', ...atC)
  expect(again.err).toContain(line)
  await order('uncordon')
  expect((await run('plan', 'passing', ...atC)).out).not.toContain('passed by')
})

test('an index is checked before anything is made, and a route of the same deployment is no change', async () => {
  await cp.addFunction('hello')
  expect((await run('routes', 'create', '/old/*', '--function', 'hello')).code).toBe(EXIT.ok)
  const words = ['deploy', file, '--name', 'hello', '--route', '/new/*']
  const planned = await run(...words, '--route', '/old/*', '--dry-run', '-o', 'json')
  const { index, new_routes } = JSON.parse(planned.out) as DeploymentPlanView & {
    new_routes: { path: string }[]
  }
  expect(new_routes.map((route) => route.path)).toEqual(['/new'])
  const late = await run(...words, '--check-index', `${index - 1}`)
  expect(late.code).toBe(EXIT.refused)
  const absent = await run('versions', 'show', 'hello', 'v2')
  expect(absent.code).toBe(EXIT.refused)
  expect(absent.err).toContain('Function hello has no version 2.')
  expect((await run('routes', 'list')).out).not.toContain('/new/*')
  // Nobody plays the nodes: accepted, and waited for in vain.
  const taken = await run(...words, '--check-index', `${index}`, '--timeout', '1s')
  expect(taken.code).toBe(EXIT.notDeployed)
  expect((await run('routes', 'list')).out).toContain('/new/*')
  expect((await run('plan', 'hello', 'v1')).out).toMatch(/a-1 .* v2 \(not acknowledged\) +v1/)
})

test('a route that would be refused is refused by the dry run, and before anything is made', async () => {
  for (const [route, reason] of [
    ['/old/*', 'to function hello already'],
    ['/../x/*', 'must be written as "/x"'],
  ] as const) {
    for (const flags of [['--dry-run'], [], ['--check-index', '0']]) {
      const words = ['deploy', file, '--name', 'late', '--target', 'a', '--route', route]
      const { code, out, err } = await run(...words, ...flags)
      expect(code).toBe(EXIT.refused)
      expect(err).toContain(reason)
      expect(out).not.toContain('would be created')
    }
  }
  expect((await run('functions', 'show', 'late')).code).toBe(EXIT.refused)
})

test('a name that is given twice is refused', async () => {
  const words = ['deploy', file, '--name', 'twice', '--dry-run', '--target', 'a']
  const env = await run(...words, '--env', 'B=x', '--env', 'B=y')
  expect(env.code).toBe(EXIT.usage)
  expect(env.err).toContain('--env: B is given twice.')
  const secret = await run(...words, '--secret', 'B=ONE', '--secret', 'B=TWO')
  expect(secret.code).toBe(EXIT.usage)
  expect(secret.err).toContain('--secret: B is given twice.')
})

test('a dry run says why the version would be refused, and what would be warned of', async () => {
  await cp.addFunction('strict', { memory_pages: 20, env: { TONE: 'dry' } })
  const words = ['deploy', file, '--name', 'strict', '--dry-run', '--target', 'a']
  const refused = await run(...words, '--memory-pages', '8', '--max-execution-ms', '100')
  expect(refused.code).toBe(EXIT.failed)
  expect(refused.err).toContain('not compatible with version 1')
  expect(refused.err).toContain('memory_pages goes down from 20 to 8')
  expect(refused.err).toContain('max_execution_ms goes down from 500 to 100')
  const forced = await run(...words, '--memory-pages', '8', '--force')
  expect(forced.code).toBe(EXIT.ok)
  expect(forced.out).toContain('forced: compared with version 1, memory_pages goes down')
  // Nobody asked for a limit, so it would be that of the version before.
  const warned = await run(...words)
  expect(warned.code).toBe(EXIT.ok)
  expect(warned.out).toContain('warning: compared with version 1, it is no longer given')
  expect(warned.out).not.toContain('memory_pages')
})

test('a dry run says which secret is not there', async () => {
  await cp.must('POST', '/secrets', { name: 'KEY', value: 'v' })
  const words = ['deploy', file, '--name', 'strict', '--dry-run', '--target', 'a']
  expect((await run(...words, '--secret', 'KEY=KEY@1', '--env', 'TONE=dry')).code).toBe(EXIT.ok)
  for (const reference of ['KEY@2', 'NONE']) {
    const refused = await run(...words, '--secret', `KEY=${reference}`)
    expect(refused.code).not.toBe(EXIT.ok)
    expect(refused.err).toContain(`no secret ${reference}`)
  }
})
