/** Registering functions and versions, and what is answered when that cannot be. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { functionRegistrationSchema } from '../../../src/protocol/registration.ts'
import { versionDetailSchema } from '../../../src/protocol/versions.ts'
import { functionStack } from './stack.ts'
import { edgefnModule } from './wasm-module.ts'

const nameArbitrary = fc.stringMatching(/^[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?$/)
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })

const registrationArbitrary = fc.record({
  name: nameArbitrary,
  entrypoint: optional(fc.stringMatching(/^[\w.$:/#@-]{1,40}$/)),
  memory_pages: optional(fc.integer({ min: 1, max: 256 })),
  max_execution_ms: optional(fc.integer({ min: 1, max: 900_000 })),
  quotas: optional(
    fc
      .record({
        concurrency: fc.option(fc.integer({ min: 1, max: 10_000 })),
        requests_per_second: fc.option(fc.integer({ min: 1, max: 1_000_000 })),
        burst: fc.option(fc.integer({ min: 1, max: 1_000_000 })),
        queue_wait_ms: fc.option(fc.integer({ min: 10, max: 10_000 })),
      })
      .filter(({ burst, requests_per_second: rate }) => burst === null || rate !== null),
  ),
  env: optional(fc.dictionary(fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,20}$/), fc.string())),
  http_allow: optional(
    fc.array(
      fc.domain().map((host) => `*.${host}`.toLowerCase()),
      { maxLength: 5 },
    ),
  ),
  isolation: optional(fc.constantFrom('instance', 'request')),
  message: optional(fc.string({ maxLength: 100 })),
})

test('P1: every field of any valid registration is stored and shown again', async () => {
  await using stack = await functionStack()
  await fc.assert(
    fc.asyncProperty(registrationArbitrary, async (sent) => {
      const body = JSON.parse(JSON.stringify(sent)) as unknown
      const full = functionRegistrationSchema.parse(body)
      const registered = await stack.register(body)
      const { name, entrypoint, memory_pages, max_execution_ms, quotas, env, http_allow } = full
      const { isolation, message } = full
      const path = `/functions/${registered.id}/versions/${registered.version}`
      const shown = await stack.call('GET', path)
      expect(versionDetailSchema.parse(shown.body)).toMatchObject({
        function_id: registered.id,
        version: registered.version,
        state: 'pending_upload',
        ...{ name, entrypoint, memory_pages, max_execution_ms, quotas, env, http_allow },
        ...{ isolation, message },
      })
      expect(shown.body).toMatchObject(registered.version_record)
    }),
    { numRuns: 100 },
  )
})

test('a name that exists gets the next version; the alias does the same', async () => {
  await using stack = await functionStack()
  const first = await stack.register({ name: 'hello' })
  const second = await stack.call('POST', '/functions/register', { name: 'hello' })
  expect(first.version).toBe(1)
  expect(second).toMatchObject({ status: 201, body: { id: first.id, version: 2 } })
  const given = await stack.register({ name: 'hello', version: 7 })
  expect([given.version, (await stack.register({ name: 'hello' })).version]).toEqual([7, 8])
})

test('an explicit version that exists is 409 with the sentence of the documents', async () => {
  await using stack = await functionStack()
  await stack.register({ name: 'hello', version: 3 })
  expect(await stack.call('POST', '/functions', { name: 'hello', version: 3 })).toMatchObject({
    status: 409,
    body: {
      error: { code: 'version_exists', message: 'Function with name and version already exists' },
    },
  })
})

test('memory_pages out of range are 400 with the sentence of the documents [R1.4]', async () => {
  await using stack = await functionStack()
  for (const memory_pages of [0, 257]) {
    expect(await stack.call('POST', '/functions', { name: 'a', memory_pages })).toMatchObject({
      status: 400,
      body: {
        error: {
          code: 'invalid_field',
          message: 'Memory pages must be between 1 and 256',
          details: { field: 'memory_pages' },
        },
      },
    })
  }
  expect(await stack.db.all('SELECT * FROM functions')).toEqual([])
})

test('an allow-list that cannot be meant is 400 and names the pattern', async () => {
  await using stack = await functionStack()
  const many = Array.from({ length: 65 }, (_, index) => `h${index}.example`)
  const refused: readonly (readonly [unknown, string])[] = [
    [['*'], 'http_allow.0'],
    [['api.example.com', 'http://10.0.0.1/path'], 'http_allow.1'],
    [many, 'http_allow'],
    ['api.example.com', 'http_allow'],
  ]
  for (const [http_allow, field] of refused) {
    expect(await stack.call('POST', '/functions', { name: 'a', http_allow })).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid_field', details: { field } } },
    })
  }
  expect(await stack.db.all('SELECT * FROM functions')).toEqual([])
})

test('quotas out of range, or a burst of no rate, are 400 and name the field', async () => {
  await using stack = await functionStack()
  const refused: readonly (readonly [object, string])[] = [
    [{ concurrency: 0 }, 'quotas.concurrency'],
    [{ concurrency: 10_001 }, 'quotas.concurrency'],
    [{ requests_per_second: 0 }, 'quotas.requests_per_second'],
    [{ requests_per_second: 5, burst: 0 }, 'quotas.burst'],
    [{ burst: 5 }, 'quotas.burst'],
    [{ queue_wait_ms: 9 }, 'quotas.queue_wait_ms'],
    [{ queue_wait_ms: 10_001 }, 'quotas.queue_wait_ms'],
    [{ patience: 1 }, 'quotas.patience'],
  ]
  for (const [quotas, field] of refused) {
    expect(await stack.call('POST', '/functions', { name: 'a', quotas })).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid_field', details: { field } } },
    })
  }
  expect(await stack.db.all('SELECT * FROM functions')).toEqual([])
})

test('a hundred registrations of one name at once get a hundred versions', async () => {
  await using stack = await functionStack()
  const all = await Promise.all(Array.from({ length: 100 }, () => stack.register({ name: 'busy' })))
  const versions = all.map((one) => one.version).sort((a, b) => a - b)
  expect(versions).toEqual(Array.from({ length: 100 }, (_, index) => index + 1))
  expect(new Set(all.map((one) => one.id)).size).toBe(1)
})

test('functions are listed in pages, by name, shown by id or name, renamed and described', async () => {
  await using stack = await functionStack()
  for (const name of ['a', 'b', 'c']) await stack.register({ name })
  const first = await stack.call('GET', '/functions?limit=2')
  expect(first.body).toMatchObject({ items: [{ name: 'a' }, { name: 'b' }] })
  const { next_cursor } = first.body as { next_cursor: string }
  expect((await stack.call('GET', `/functions?limit=2&cursor=${next_cursor}`)).body).toMatchObject({
    items: [{ name: 'c' }],
    next_cursor: null,
  })
  expect((await stack.call('GET', '/functions?name=b')).body).toMatchObject({
    items: [{ name: 'b' }],
  })
  const renamed = await stack.call('PUT', '/functions/b', { name: 'd', description: 'text' })
  expect(renamed).toMatchObject({ status: 200, body: { name: 'd', description: 'text' } })
  const { id } = renamed.body as { id: string }
  expect(stack.hookCalls).toEqual([`changed ${id}`])
  expect(await stack.call('PUT', '/functions/d', { name: 'a' })).toMatchObject({ status: 409 })
  expect(await stack.call('PUT', '/functions/d', {})).toMatchObject({ status: 400 })
  expect((await stack.call('GET', `/functions/${id}`)).body).toMatchObject({
    name: 'd',
    latest_version: null,
    latest: null,
  })
  expect(await stack.call('GET', '/functions/b')).toMatchObject({
    status: 404,
    body: { error: { code: 'function_not_found' } },
  })
})

test('a deleted function is gone, its name is free, and nodes are told in the same transaction', async () => {
  await using stack = await functionStack()
  const { function_id } = await stack.deploy('hello', edgefnModule())
  expect(await stack.call('DELETE', '/functions/hello')).toEqual({ status: 204, body: null })
  expect(stack.hookCalls).toEqual([`removed ${function_id}`])
  for (const path of ['', '/versions', '/versions/1', '/download']) {
    expect((await stack.call('GET', `/functions/${function_id}${path}`)).status).toBe(404)
  }
  const again = await stack.register({ name: 'hello' })
  expect(again.version).toBe(1)
  expect(again.id).not.toBe(function_id)
})

test('every change leaves its audit row, without the values of the environment', async () => {
  await using stack = await functionStack()
  const { upload_url } = await stack.register({ name: 'hello', env: { KEY: 'top-secret' } })
  await stack.upload(upload_url, edgefnModule())
  await stack.call('PUT', '/functions/hello', { description: 'x' })
  await stack.call('DELETE', '/functions/hello')
  const rows = await stack.db.all('SELECT * FROM audit_log ORDER BY seq')
  expect(rows.map((row) => `${row['operation']} ${row['resource_type']} ${row['actor']}`)).toEqual([
    'create function key:k1',
    'create version key:k1',
    'update version key:k1',
    'update function key:k1',
    'delete function key:k1',
  ])
  expect(JSON.stringify(rows)).not.toContain('top-secret')
})
