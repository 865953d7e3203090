/** What a version may not take away from the one before it, by itself and through the API; and that versions never change. */

import { describe, expect, test } from 'bun:test'

import fc from 'fast-check'

import { compare, type VersionSurface } from '../../../src/protocol/comparison.ts'
import { registrationViewSchema, versionViewSchema } from '../../../src/protocol/api.ts'
import { assemble } from '../../wasm/wabt.ts'
import { functionStack } from './stack.ts'
import { edgefnModule } from './wasm-module.ts'

const surface: VersionSurface = {
  abi: 'edgefn',
  entrypoint: 'handle',
  imports: ['edgefn.log', 'edgefn.kv_get'],
  memory_pages: 16,
  max_execution_ms: 500,
  quotas: { concurrency: null, requests_per_second: 10, burst: 20, queue_wait_ms: null },
  variables: ['A', 'B'],
  http_allow: ['api.example.com'],
  isolation: 'request',
}

describe('compare', () => {
  const found = (change: Partial<VersionSurface>) =>
    compare(surface, { ...surface, ...change }).map(({ severity, message }) => [severity, message])

  test.each<[string, Partial<VersionSurface>, [string, string][]]>([
    ['nothing', {}, []],
    ['another ABI', { abi: 'wagi' }, [['refuse', 'the ABI changes from edgefn to wagi']]],
    [
      'another entrypoint',
      { entrypoint: 'main' },
      [['refuse', 'the entrypoint changes from handle to main']],
    ],
    ['less memory', { memory_pages: 15 }, [['refuse', 'memory_pages goes down from 16 to 15']]],
    [
      'less time',
      { max_execution_ms: 499 },
      [['refuse', 'max_execution_ms goes down from 500 to 499']],
    ],
    [
      'lower quotas',
      { quotas: { concurrency: 5, requests_per_second: 9, burst: 20, queue_wait_ms: 100 } },
      [
        ['refuse', 'the quota concurrency goes down from none to 5'],
        ['refuse', 'the quota requests_per_second goes down from 10 to 9'],
        ['warn', 'the quota queue_wait_ms goes down from none to 100'],
      ],
    ],
    [
      'new imports',
      { imports: ['edgefn.http_fetch', 'edgefn.env_get', 'env.abort', 'fermyon:spin/x.open'] },
      [
        [
          'refuse',
          'it imports edgefn.http_fetch, fermyon:spin/x.open, which the version before did not',
        ],
        ['warn', 'it also imports edgefn.env_get, env.abort, which the version before did not'],
      ],
    ],
    [
      'fewer variables, hosts, clean instances',
      { variables: ['A'], http_allow: [], isolation: 'instance' },
      [
        ['warn', 'it is no longer given the variables B'],
        ['warn', 'it may no longer fetch api.example.com'],
        ['warn', 'requests no longer see a clean instance each'],
      ],
    ],
  ])('finds of %s what it must', (_name, change, expected) => {
    expect(found(change)).toEqual(expected)
  })

  test('more of everything is compatible, and what refuses comes first', () => {
    const quota = fc.option(fc.integer({ min: 1, max: 1000 }))
    const arbitrary = fc.record({
      abi: fc.constantFrom('edgefn' as const, 'wagi' as const),
      entrypoint: fc.constantFrom('handle', 'main'),
      imports: fc.subarray(['edgefn.log', 'edgefn.kv_get', 'edgefn.http_fetch', 'env.abort']),
      memory_pages: fc.integer({ min: 1, max: 256 }),
      max_execution_ms: fc.integer({ min: 1, max: 1000 }),
      quotas: fc.record({
        concurrency: quota,
        requests_per_second: quota,
        burst: quota,
        queue_wait_ms: quota,
      }),
      variables: fc.subarray(['A', 'B', 'C']),
      http_allow: fc.subarray(['a.example', 'b.example']),
      isolation: fc.constantFrom('instance' as const, 'request' as const),
    })
    fc.assert(
      fc.property(arbitrary, arbitrary, (before, after) => {
        expect(compare(before, before)).toEqual([])
        const severities = compare(before, after).map(({ severity }) => severity)
        expect(severities).toEqual([...severities].sort())
        const none = { concurrency: null, requests_per_second: null, burst: null }
        const more = {
          ...before,
          memory_pages: before.memory_pages + 1,
          max_execution_ms: before.max_execution_ms + 1,
          quotas: { ...none, queue_wait_ms: null },
          variables: [...before.variables, 'Z'],
          imports: before.imports.slice(1),
        }
        expect(compare(before, more)).toEqual([])
      }),
      { numRuns: 300 },
    )
  })
})

const fetching = assemble(`(module
  (import "edgefn" "http_fetch" (func (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "handle")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 0))`)

test('what is not compatible is refused with every reason, and leaves nothing', async () => {
  await using stack = await functionStack()
  await stack.deploy('hello', edgefnModule())
  const made = await stack.register({ name: 'hello', memory_pages: 8, max_execution_ms: 100 })
  expect(await stack.upload(made.upload_url, fetching)).toMatchObject({
    status: 409,
    body: {
      error: {
        code: 'incompatible_version',
        message:
          'Version 2 of hello is not compatible with version 1: it imports edgefn.http_fetch, which the version before did not; memory_pages goes down from 16 to 8; max_execution_ms goes down from 500 to 100. Force it to publish it nevertheless.',
        details: { compared_with: 1, findings: [{}, {}, {}] },
      },
    },
  })
  expect(await stack.call('GET', '/functions/hello/versions/2')).toMatchObject({ status: 404 })
  const list = await stack.call('GET', '/functions/hello/versions')
  expect(list.body).toMatchObject({ items: [{ version: 1 }] })
  const digest = new Bun.CryptoHasher('sha256').update(fetching).digest('hex')
  expect(await stack.db.all('SELECT sha256 FROM artifacts WHERE sha256 = ?', [digest])).toEqual([])
})

test('what is forced is taken, and both what was found and that it was forced are recorded', async () => {
  await using stack = await functionStack()
  await stack.deploy('hello', edgefnModule())
  const body = { name: 'hello', memory_pages: 8, force: true }
  const made = registrationViewSchema.parse((await stack.call('POST', '/functions', body)).body)
  const answer = await stack.upload(made.upload_url, fetching)
  const version = versionViewSchema.parse(answer.body)
  expect(version).toMatchObject({ version: 2, forced: true, compatibility: { compared_with: 1 } })
  const { body: shown } = await stack.call('GET', '/functions/hello/versions/2')
  expect(shown).toMatchObject({
    imports: ['edgefn.http_fetch'],
    exports: ['memory', 'alloc', 'handle'],
    memory_min: 1,
    live: [],
  })
  const rows = await stack.db.all(
    `SELECT new_value FROM audit_log WHERE resource_type = 'version' AND resource_id LIKE '%/2' ORDER BY seq`,
  )
  const [created, ready] = rows.map((row) => JSON.parse(String(row['new_value'])) as unknown)
  expect(created).toMatchObject({ force: true })
  expect(ready).toMatchObject({
    state: 'ready',
    forced: true,
    compatibility: version.compatibility,
  })
})

test('a version whose facts were not kept is compared by its module', async () => {
  await using stack = await functionStack()
  await stack.db.run('DROP TRIGGER versions_no_change')
  await stack.deploy('hello', fetching)
  await stack.db.run('UPDATE versions SET imports = NULL, exports = NULL, memory_min = NULL')
  const again = await stack.deploy('hello', fetching)
  expect(again.compatibility).toEqual({ compared_with: 1, findings: [] })
  const { body } = await stack.call('GET', '/functions/hello/versions/1')
  expect(body).toMatchObject({ imports: ['edgefn.http_fetch'], memory_min: 1 })
})

test('nothing changes, replaces or deletes a version that is ready', async () => {
  await using stack = await functionStack()
  await stack.deploy('hello', edgefnModule())
  const before = await stack.db.all('SELECT * FROM versions')
  const columns = Object.keys(before[0] ?? {})
  for (const column of columns) {
    const change = stack.db.run(`UPDATE versions SET ${column} = ${column}`)
    await expect(change).rejects.toThrow('a version is immutable')
  }
  for (const statement of [
    'DELETE FROM versions',
    'INSERT OR REPLACE INTO versions SELECT * FROM versions',
    'DELETE FROM functions',
  ]) {
    await expect(stack.db.run(statement)).rejects.toThrow('a version is immutable')
  }
  expect(await stack.db.all('SELECT * FROM versions')).toEqual(before)
  await stack.register({ name: 'hello' })
  const waiting = stack.db.run(`UPDATE versions SET memory_pages = 1 WHERE state <> 'ready'`)
  await expect(waiting).rejects.toThrow('a version is immutable')
})
