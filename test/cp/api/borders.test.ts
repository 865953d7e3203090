/** What comes to the API and must not come in: each is refused with the error body, and nothing of it is kept. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { connect } from 'node:net'

import type { ErrorBody, RegistrationView } from '../../../src/protocol/api.ts'
import { versionMax } from '../../../src/protocol/ids.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'
import { testPlane, type TestPlane } from './test-plane.ts'

let cp: TestPlane
beforeAll(async () => {
  cp = await testPlane()
})
afterAll(() => cp[Symbol.asyncDispose]())

test('a client that leaves in the middle of a body is no failure of the control plane', async () => {
  const { hostname, port } = new URL(cp.plane().api_url)
  const closed = Promise.withResolvers<void>()
  const socket = connect(Number(port), hostname, () => {
    const head = `POST /api/v1/functions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${cp.key}\r\n`
    socket.write(`${head}Content-Length: 100\r\n\r\n{"na`, () =>
      setTimeout(() => socket.destroy(), 50),
    )
  })
  socket.on('close', () => closed.resolve())
  await closed.promise
  const counted = async () =>
    (await (await fetch(`${cp.plane().api_url}/metrics`)).text())
      .split('\n')
      .filter((line) => line.includes('count{method="POST",route="/functions",status="'))
      .join()
  while (!(await counted()).includes('status="400"')) await Bun.sleep(20)
  expect(await counted()).not.toContain('status="500"')
  expect(cp.complaints).toEqual([])
})

test('probes take GET only', async () => {
  for (const path of ['/health', '/ready', '/metrics', '/openapi.json']) {
    const response = await fetch(`${cp.plane().api_url}${path}`, { method: 'POST' })
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET'])
    expect(await response.json()).toMatchObject({ error: { code: 'method_not_allowed' } })
  }
})

test('a cursor that is none is refused, not read as some other place in the list', async () => {
  for (const list of ['functions', 'routes', 'nodes', 'deployments', 'api-keys', 'audit-log']) {
    const { status, body } = await cp.call<ErrorBody>('GET', `/${list}?cursor=Z%00z`)
    expect([list, status, body.error.details?.['field']]).toEqual([list, 400, 'cursor'])
  }
  const unknown = await cp.call('GET', '/api-keys?cursor=0123456789abcdef')
  expect(unknown.body).toEqual({ items: [], next_cursor: null })
})

test('zero bytes are refused: the database would cut the text there', async () => {
  for (const fields of [{ description: 'a\0b' }, { message: 'a\0b' }, { env: { A: 'a\0b' } }]) {
    const { status, body } = await cp.call<ErrorBody>('POST', '/functions', {
      name: 'cut',
      ...fields,
    })
    expect([status, body.error.message]).toEqual([400, expect.stringContaining('zero bytes')])
  }
  await cp.addFunction('target')
  const route = { path: '/a\0b/.*', path_type: 'regex', function: 'target' }
  expect((await cp.call('POST', '/routes', route)).status).toBe(400)
  expect((await cp.call('POST', '/api-keys', { name: 'a\0b', role: 'viewer' })).status).toBe(400)
})

test('after the highest version there is no next one, and the function stays readable', async () => {
  await cp.must('POST', '/functions', { name: 'full', version: versionMax })
  const { status, body } = await cp.call<ErrorBody>('POST', '/functions', { name: 'full' })
  expect([status, body.error.code]).toEqual([409, 'conflict'])
  expect((await cp.call('GET', '/functions/full/versions')).status).toBe(200)
  await cp.must('POST', '/functions', { name: 'full', version: 7 })
})

test('a module far over the limit is refused with the error body, and the connection ends', async () => {
  const { upload_url: url } = await cp.must<RegistrationView>('POST', '/functions', {
    name: 'huge',
  })
  const body = new Uint8Array(LIMITS.moduleBytesMax + 2)
  const response = await fetch(url, { method: 'PUT', body })
  expect([response.status, response.headers.get('connection')]).toEqual([413, 'close'])
  expect(await response.json()).toMatchObject({
    error: { code: 'body_too_large', details: { limit_bytes: LIMITS.moduleBytesMax } },
  })
})
