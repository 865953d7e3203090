/** The commands against a real control plane. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { EXIT } from '../../src/cli/exit.ts'
import type { RunningControlPlane } from '../../src/cli/modes.ts'
import { CP_OPTIONS, cpConfig } from '../../src/config/cp-options.ts'
import { resolveOptions } from '../../src/config/resolve.ts'
import { startControlPlane } from '../../src/cp/main.ts'
import { createLog } from '../../src/telemetry/log.ts'
import type { EffectiveLimit } from '../../src/cli/limits/effective-limits.ts'
import { runCaptured } from './capture.ts'

/** `(module (memory (export "memory") 20) (func (export "_start")))`: a WASI command that answers nothing. */
const MODULE = Buffer.from(
  '0061736d01000000010401600000030201000503010014071302066d656d6f72790200065f737461727400000a040102000b',
  'hex',
)

let folder: string
let controlPlane: RunningControlPlane
let file: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'edgefn-cli-'))
  file = join(folder, 'empty.wasm')
  writeFileSync(file, MODULE)
  const config = configOf(join(folder, 'cp'), '127.0.0.1:0')
  controlPlane = await startControlPlane(config, createLog({ component: 'cp', level: 'error' }))
})
afterAll(async () => {
  await controlPlane.close()
  rmSync(folder, { recursive: true, force: true })
})

/** A configuration as the flags would give it. */
function configOf(dataDir: string, listen: string) {
  const given = { 'data-dir': dataDir, listen, 'mqtt-listen': 'off' }
  const flags = new Map(Object.entries(given).map(([name, value]) => [name, [value]]))
  return cpConfig(resolveOptions(CP_OPTIONS, { flags, env: {}, file: null }))
}

/** The key comes from the data directory, as it does for a user on the same machine. */
function run(...words: readonly string[]) {
  const env = { EDGEFN_CP: controlPlane.api_url, EDGEFN_DATA_DIR: join(folder, 'cp') }
  return runCaptured(words, env)
}

async function json(...words: readonly string[]): Promise<unknown> {
  const { code, out, err } = await run(...words, '-o', 'json')
  expect({ code, err }).toEqual({ code: EXIT.ok, err: '' })
  return JSON.parse(out)
}

test('lists are empty at first, as a table and as JSON', async () => {
  for (const noun of ['functions', 'routes', 'nodes', 'deployments']) {
    expect(await run(noun, 'list')).toEqual({ code: EXIT.ok, out: '', err: 'none\n' })
    expect(await json(noun, 'list')).toEqual([])
  }
})

test('a join token comes as the complete command', async () => {
  const { code, out } = await run('token', 'create', '--pop', 'tokyo-1', '--ttl', '1m')
  expect(code).toBe(EXIT.ok)
  const command = `edgefn edge --pop tokyo-1 --cp ${controlPlane.api_url} --token efj_`
  expect(out).toStartWith(command)
  expect(await json('token', 'create', '--pop', 'a')).toMatchObject({ pop_id: 'a' })
})

describe('deploy', () => {
  test('refuses a bad module before anything is sent', async () => {
    const bad = join(folder, 'bad.wasm')
    writeFileSync(bad, 'not a module')
    const { code, err } = await run('deploy', bad, '--name', 'bad')
    expect(code).toBe(EXIT.failed)
    expect(err).toContain('would be refused')
    expect((await run('functions', 'show', 'bad')).code).toBe(EXIT.refused)
  })

  test('uploads and routes, and tells when there is no node', async () => {
    const words = ['--name', 'empty', '--route', '/empty/*', '--env', 'A=b=c', '--message', 'first']
    const { code, err } = await run('deploy', file, ...words)
    expect(code).toBe(EXIT.refused)
    expect(err).toContain('uploaded empty version 1')
    expect(err).toContain('route /empty/* created')
    expect(err).toContain('no_edge_nodes')
    expect(await json('versions', 'list', 'empty')).toMatchObject([
      { version: 1, state: 'ready', abi: 'wagi', memory_pages: 40, env: { A: 'b=c' } },
    ])
  })

  test('leaves a route alone that is there, and does not take that of another function', async () => {
    await run('deploy', file, '--name', 'empty', '--route', '/empty/*')
    expect(await json('routes', 'list')).toHaveLength(1)
    const { err } = await run('deploy', file, '--name', 'other', '--route', '/empty/*')
    expect(err).toContain('(conflict, request ')
  })
})

test('quotas are given to deploy, checked, shown, and part of the limits', async () => {
  const flags = ['--concurrency', '5', '--rps', '2.5', '--burst', '7', '--queue-wait-ms', '250']
  await run('deploy', file, '--name', 'rated', ...flags)
  const quotas = { concurrency: 5, requests_per_second: 2.5, burst: 7, queue_wait_ms: 250 }
  expect(await json('versions', 'list', 'rated')).toMatchObject([{ quotas }])
  const text = '5 at a time, 2.5/s, burst 7, waits 250 ms'
  expect((await run('versions', 'list', 'rated')).out).toContain(text)
  expect((await run('functions', 'show', 'rated')).out).toContain(text)
  await run('deploy', file, '--name', 'rated', '--max-execution-ms', '900')
  const limitsOf = async (...words: string[]) => {
    const shown = (await json('limits', 'rated', ...words)) as { limits: EffectiveLimit[] }
    return new Map(shown.limits.map((limit) => [limit.name, limit]))
  }
  const first = await limitsOf('--version', '1')
  expect(first.get('requests_per_second')).toMatchObject({ value: 2.5, source: 'quota' })
  expect(first.get('max_execution_ms')).toMatchObject({ value: 500, source: 'default' })
  const newest = await limitsOf()
  expect(newest.get('requests_per_second')).toMatchObject({ value: null, source: 'default' })
  expect(newest.get('max_execution_ms')).toMatchObject({ value: 900, source: 'version' })
  const table = await run('limits', 'rated', '--version', '1')
  expect(table.out).toMatch(/^queue_wait_ms +250 ms +quota +--queue-wait-ms /m)
  expect(table.out).toMatch(/^response_body_bytes +6\.0 MiB +fixed +- +response +502 /m)
  expect((await run('limits', 'rated', '--version', '9')).err).toContain('has no version 9')
})

test('quotas that cannot be are refused by name', async () => {
  const refusals = [
    [['--rps', '0'], '--rps'],
    [['--rps', 'many'], '--rps'],
    [['--concurrency', '0'], '--concurrency'],
    [['--concurrency', '10001'], '--concurrency'],
    [['--burst', '5'], '--burst needs --rps'],
    [['--queue-wait-ms', '10001'], '--queue-wait-ms'],
  ] as const
  for (const [words, named] of refusals) {
    const { code, err } = await run('deploy', file, '--name', 'unrated', ...words)
    expect([code, err.includes(named)]).toEqual([EXIT.usage, true])
  }
  expect((await run('functions', 'show', 'unrated')).code).toBe(EXIT.refused)
})

test('a route is created, changed and deleted', async () => {
  await run('deploy', file, '--name', 'routed')
  const created = await json(
    'routes',
    'create',
    'A.example.com/x',
    '--function',
    'routed',
    '--method',
    'get',
  )
  expect(created).toMatchObject({
    host: 'a.example.com',
    path: '/x',
    path_type: 'exact',
    methods: ['GET'],
  })
  const { id } = created as { id: string }
  const change = ['--route', '/v[0-9]/.*', '--regex', '--method', 'any', '--priority', '-5']
  expect(await json('routes', 'update', id, ...change)).toMatchObject({
    host: '*',
    path: '/v[0-9]/.*',
    path_type: 'regex',
    methods: [],
    priority: -5,
  })
  expect((await run('routes', 'list')).out).toContain('~ /v[0-9]/.*')
  expect(await json('routes', 'delete', id)).toEqual({ deleted: id })
  expect((await run('routes', 'delete', id)).code).toBe(EXIT.refused)
})

test('a function is shown and deleted', async () => {
  await run('deploy', file, '--name', 'gone')
  const shown = await run('functions', 'show', 'gone')
  expect(shown.out).toMatch(/^abi +wagi$/m)
  expect(await run('functions', 'delete', 'gone')).toMatchObject({ out: 'function gone deleted\n' })
  const { code, err } = await run('functions', 'show', 'gone')
  expect(code).toBe(EXIT.refused)
  expect(err).toContain('function_not_found')
})

test('inspect needs no control plane and says what a module is', async () => {
  const { code, out } = await runCaptured(['inspect', file])
  expect(code).toBe(EXIT.ok)
  expect(out).toMatch(/^abi +wagi$/m)
  expect(out).toContain('would be accepted')
  const refused = await runCaptured(['inspect', file, '--memory-pages', '4', '-o', 'json'])
  expect(refused.code).toBe(EXIT.failed)
  expect(JSON.parse(refused.out)).toMatchObject({ refused: true, memory: { min: 20 } })
})

test('a second control plane does not share the port of the first', async () => {
  const config = configOf(join(folder, 'second'), new URL(controlPlane.api_url).host)
  const second = startControlPlane(config, createLog({ component: 'cp', level: 'error' }))
  await expect(second).rejects.toThrow('cannot be listened on')
})
