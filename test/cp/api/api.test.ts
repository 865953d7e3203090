/** The HTTP face: probes, the OpenAPI document, and what every endpoint does alike. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { rm } from 'node:fs/promises'

import { errorMessage } from '../../../src/errors.ts'
import { errorBodySchema } from '../../../src/protocol/api.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'
import { startControlPlane } from '../../../src/cp/main.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { codeOf } from '../auth/stack.ts'
import { testPlane, type TestPlane } from './test-plane.ts'

let cp: TestPlane
const silent = createLog({ component: 'test', level: 'error', write: () => undefined })

beforeAll(async () => {
  cp = await testPlane()
})
afterAll(() => cp[Symbol.asyncDispose]())

const get = (path: string, init: RequestInit = {}) => fetch(`${cp.plane().api_url}${path}`, init)

describe('probes', () => {
  test('/health and /ready answer without a credential', async () => {
    expect(await (await get('/health')).json()).toMatchObject({ status: 'ok' })
    const ready = await get('/ready')
    expect(ready.status).toBe(200)
    expect(await ready.json()).toEqual({
      status: 'ready',
      checks: { database: 'ok', artifacts: 'ok', broker: 'ok' },
    })
  })

  test('/ready says what is missing', async () => {
    await using broken = await testPlane()
    await rm(`${broken.config.data_dir}/artifacts`, { recursive: true })
    const ready = await fetch(`${broken.plane().api_url}/ready`)
    expect(ready.status).toBe(503)
    const { status, checks } = (await ready.json()) as {
      status: string
      checks: Record<string, string>
    }
    expect(status).toBe('unavailable')
    expect(checks).toMatchObject({ database: 'ok', broker: 'ok' })
    expect(checks['artifacts']).not.toBe('ok')
  })

  test('/metrics has what the control plane measures', async () => {
    await cp.addNode('tokyo-1')
    const text = await (await get('/metrics')).text()
    for (const line of [
      'edgefn_nodes{status="offline"} 1',
      'edgefn_outbox_notices 0',
      'edgefn_mqtt_connections 0',
      'edgefn_api_request_seconds_count{method="POST",route="/nodes/register",status="201"} 1',
    ]) {
      expect(text).toContain(line)
    }
    expect(text).toMatch(/edgefn_db_transaction_seconds_count\{result="committed"\} [1-9]/)
  })
})

describe('/openapi.json', () => {
  interface Operation {
    operationId: string
    security: unknown[]
    parameters: { name: string; in: string; required: boolean; schema: unknown }[]
    requestBody?: { content: Record<string, { schema: unknown }> }
    responses: Record<string, unknown>
  }
  interface Document {
    openapi: string
    paths: Record<string, Record<string, Operation>>
  }

  test('names every endpoint once, with parameters, bodies, answers, errors and who may call', async () => {
    const document = (await (await get('/openapi.json')).json()) as Document
    expect(await (await get('/api/v1/openapi.json')).json()).toEqual(document)
    expect(document.openapi).toBe('3.1.0')
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
    )
    const ids = operations.map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { path, method, operation } of operations) {
      if (!path.startsWith('/api/')) continue
      const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
      const declared = operation.parameters
        .filter((one) => one.in === 'path')
        .map((one) => one.name)
      expect(declared.sort()).toEqual(named.sort() as string[])
      expect(operation.security).toEqual([{ bearer: [] }])
      for (const status of ['400', '401', '403', '500'])
        expect(operation.responses).toHaveProperty(status)
      if (method === 'put') expect(operation.requestBody).toBeDefined()
    }
    for (const path of [
      '/functions',
      '/functions/{id}/deploy',
      '/routes/{id}',
      '/nodes/{id}/sync/ack',
    ]) {
      expect(document.paths).toHaveProperty([`/api/v1${path}`])
    }
    const create = document.paths['/api/v1/routes']?.['post']
    expect(JSON.stringify(create?.requestBody)).toContain('"required":["path","function"]')
  })
})

describe('every endpoint', () => {
  const post = (path: string, body: string, headers: Record<string, string> = {}) =>
    get(path, { method: 'POST', body, headers: { authorization: `Bearer ${cp.key}`, ...headers } })

  async function refusal(response: Response): Promise<string> {
    const { error } = errorBodySchema.parse(await response.json())
    expect(response.headers.get('x-request-id')).toBe(error.request_id)
    return `${response.status} ${error.code}`
  }

  test('wants a credential, and tells what is wrong in one form', async () => {
    expect(await refusal(await get('/api/v1/nodes'))).toBe('401 unauthenticated')
    const wrong = { authorization: 'Bearer efk_0000000000000000_wrong' }
    expect(await refusal(await get('/api/v1/nodes', { headers: wrong }))).toBe(
      '401 unauthenticated',
    )
    const auth = { authorization: `Bearer ${cp.key}` }
    expect(await refusal(await get('/api/v1/nowhere', { headers: auth }))).toBe('404 not_found')
    expect(await refusal(await get('/', { headers: auth }))).toBe('404 not_found')
    const patch = await get('/api/v1/routes', { method: 'PATCH', headers: auth })
    expect(patch.headers.get('allow')).toBe('POST, GET')
    expect(await refusal(patch)).toBe('405 method_not_allowed')
    expect(await refusal(await get('/api/v1/nodes?limit=0', { headers: auth }))).toBe(
      '400 invalid_field',
    )
    expect(await refusal(await get('/api/v1/nodes?mode=1', { headers: auth }))).toBe(
      '400 invalid_field',
    )
    expect(await refusal(await get('/api/v1/nodes?limit=1&limit=2', { headers: auth }))).toBe(
      '400 bad_request',
    )
    expect(await refusal(await get('/api/v1/routes/x', { headers: auth }))).toBe(
      '400 invalid_field',
    )
    expect(await refusal(await get('/api/v1/nodes/%zz', { headers: auth }))).toBe(
      '400 invalid_field',
    )
  })

  test('wants JSON of a bounded size, with known fields only', async () => {
    const big = JSON.stringify({ name: 'x'.repeat(LIMITS.apiBodyBytesMax) })
    expect(await refusal(await post('/api/v1/routes', big))).toBe('413 body_too_large')
    expect(await refusal(await post('/api/v1/routes', '{'))).toBe('400 bad_request')
    expect(await refusal(await post('/api/v1/routes', ''))).toBe('400 bad_request')
    expect(await refusal(await post('/api/v1/routes', '[]'))).toBe('400 invalid_field')
    const unknown = JSON.stringify({ path: '/', function: 'f', colour: 'red' })
    expect(await refusal(await post('/api/v1/routes', unknown))).toBe('400 invalid_field')
  })

  test('keeps the caller’s request id, unless it is none', async () => {
    const named = await get('/api/v1/nodes', { headers: { 'x-request-id': 'abc-1' } })
    expect(named.headers.get('x-request-id')).toBe('abc-1')
    const odd = await get('/api/v1/nodes', { headers: { 'x-request-id': 'a b<script>' } })
    expect(odd.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('a viewer may look and not touch', async () => {
    const { key } = await cp.must<{ key: string }>('POST', '/api-keys', {
      name: 'v',
      role: 'viewer',
    })
    expect((await cp.call('GET', '/routes', undefined, key)).status).toBe(200)
    const touches: readonly (readonly [string, string])[] = [
      ['POST', '/routes'],
      ['POST', '/functions/x/deploy'],
      ['POST', '/join-tokens'],
      ['DELETE', '/nodes/x'],
    ]
    for (const [method, path] of touches) {
      expect((await cp.call(method, path, {}, key)).status).toBe(403)
    }
  })
})

describe('startControlPlane', () => {
  test('is refused on a data directory that another one has', async () => {
    const started = startControlPlane({ ...cp.config, mqtt_listen: null }, silent)
    expect(await codeOf(started)).toBe('conflict')
    expect((await get('/ready')).status).toBe(200)
  })

  test('says which address it cannot have, and closes what it opened', async () => {
    await using other = await testPlane()
    await other.plane().close()
    const taken = (name: 'listen' | 'mqtt_listen', port: number) =>
      startControlPlane(
        {
          ...cp.config,
          data_dir: other.config.data_dir,
          database_url: other.config.database_url,
          artifacts: other.config.artifacts,
          [name]: { host: '127.0.0.1', port },
        },
        silent,
      ).then(() => 'started', errorMessage)
    const apiPort = Number(new URL(cp.plane().api_url).port)
    expect(await taken('listen', apiPort)).toStartWith(`listen 127.0.0.1:${apiPort} `)
    const mqttPort = Number(new URL(cp.plane().mqtt_url ?? '').port)
    expect(await taken('mqtt_listen', mqttPort)).toStartWith(`mqtt-listen 127.0.0.1:${mqttPort} `)
    await other.restart()
    expect((await other.call('GET', '/nodes')).status).toBe(200)
  })

  test('gives out the public URLs it is told to', async () => {
    await using named = await testPlane({ public_url: 'https://cp.example.com' })
    expect(named.plane().api_url).toBe('https://cp.example.com')
    expect(named.plane().mqtt_url).toMatch(/^mqtt:\/\/cp\.example\.com:\d+$/)
  }, 120_000)
})
