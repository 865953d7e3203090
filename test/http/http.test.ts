/** What callers are told: errors, request ids, bodies that are too long or no JSON, fields that are wrong. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { z } from 'zod'

import { ERROR_KINDS, EdgefnError } from '../../src/errors.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { readBody, readJsonBody } from '../../src/http/body.ts'
import { errorAnswer, errorResponse } from '../../src/http/error-response.ts'
import { requestIdOf } from '../../src/http/request-id.ts'
import { validate } from '../../src/http/validate.ts'
import { deploymentCreationSchema, errorBodySchema } from '../../src/protocol/api.ts'
import { functionRegistrationSchema } from '../../src/protocol/registration.ts'
import { secretPutSchema } from '../../src/protocol/secrets.ts'

function thrownBy(work: () => unknown): EdgefnError {
  try {
    work()
  } catch (error) {
    if (error instanceof EdgefnError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

async function rejection(work: Promise<unknown>): Promise<EdgefnError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  if (error instanceof EdgefnError) return error
  throw new Error(`expected an EdgefnError, got ${error}`)
}

test('every code is answered with its status and a body of the one shape', () => {
  for (const code of Object.keys(ERROR_KINDS) as ErrorCode[]) {
    const answer = errorAnswer(
      new EdgefnError(code, 'Sentence.', { details: { field: 'x' } }),
      'r1',
    )
    expect(answer.status).toBe(ERROR_KINDS[code].status)
    expect(errorBodySchema.parse(answer.body).error).toEqual({
      code,
      message: 'Sentence.',
      details: { field: 'x' },
      request_id: 'r1',
      retryable: ERROR_KINDS[code].retryable,
    })
    const asked = answer.headers['retry-after'] !== undefined
    expect(asked).toBe(answer.status === 429 || answer.status === 503)
  }
})

test('what is not an EdgefnError tells the caller nothing of itself', async () => {
  const secret = new Error('SELECT secret', { cause: new Error('password') })
  const response = errorResponse(secret, 'r1')
  const text = await response.text()
  expect(response.status).toBe(500)
  expect(text).not.toMatch(/SELECT|password|at /)
  const wrapped = new EdgefnError('database_unavailable', 'Later.', { cause: secret })
  expect(JSON.stringify(errorAnswer(wrapped, 'r1'))).not.toMatch(/SELECT|password/)
})

test('a sane request id is kept, anything else becomes a UUIDv7', () => {
  expect(requestIdOf('abc-1.2_3')).toBe('abc-1.2_3')
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.constantFrom('a\nb', 'ä', 'x'.repeat(129), '')),
      (text) => {
        const id = requestIdOf(text)
        expect(id).toMatch(/^[A-Za-z0-9._-]{1,128}$/)
        if (id !== text) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/)
      },
    ),
    { numRuns: 200 },
  )
  expect(requestIdOf(null)).toHaveLength(36)
})

function post(
  body: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>,
  headers: Record<string, string> = {},
): Request {
  return new Request('http://x/', { method: 'POST', body, headers })
}

test('a body over the limit is refused by its announced length, and while it is read', async () => {
  const announced = post('x'.repeat(11), { 'content-length': '11' })
  expect((await rejection(readBody(announced, 10))).code).toBe('body_too_large')
  let pulled = 0
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulled += 1
      controller.enqueue(new Uint8Array(1000))
    },
  })
  expect((await rejection(readBody(post(endless), 5000))).code).toBe('body_too_large')
  expect(pulled).toBeLessThan(20)
  expect(await readBody(post('x'.repeat(10)), 10)).toHaveLength(10)
})

test.each([
  ['', 'is empty'],
  ['{', 'is not JSON'],
  [new Uint8Array([0x22, 0xff, 0x22]), 'is not UTF-8'],
])('a body that is no JSON is said to be so: %p', async (body, message) => {
  const error = await rejection(readJsonBody(post(body), 100))
  expect([error.code, error.message.includes(message)]).toEqual(['bad_request', true])
})

test('another content type is refused, JSON of any media type suffix is read', async () => {
  const form = post('a=b', { 'content-type': 'application/x-www-form-urlencoded' })
  expect((await rejection(readJsonBody(form, 100))).message).toContain('application/json')
  const patch = post('{"a":1}', { 'content-type': 'application/merge-patch+json; charset=utf-8' })
  expect(await readJsonBody(patch, 100)).toEqual({ a: 1 })
})

test('the documents own sentence is used word for word [R1.4]', () => {
  for (const memory_pages of [0, 257, 1.5, -1, '16', null]) {
    const error = thrownBy(() =>
      validate(functionRegistrationSchema, { name: 'a', memory_pages }, 'body'),
    )
    expect(error.code).toBe('invalid_field')
    expect(error.message).toBe('Memory pages must be between 1 and 256')
    expect(error.details).toMatchObject({ field: 'memory_pages' })
  }
})

test.each([
  [{}, 'name', 'Field name of the body is required.'],
  [{ name: 1 }, 'name', 'Field name of the body must be a string.'],
  [
    { name: 'a', quotas: { burst: 0 } },
    'quotas.burst',
    'Field quotas.burst of the body must be at least 1.',
  ],
  [
    { name: 'a', quotas: { requests_per_second: 0 } },
    'quotas.requests_per_second',
    'Field quotas.requests_per_second of the body must be above 0.',
  ],
  [{ name: 'a', env: [] }, 'env', 'Field env of the body must be an object.'],
  [{ name: 'a', nme: 1 }, 'nme', 'Field nme of the body is not known here.'],
  [
    { name: 'A' },
    'name',
    'Field name of the body must be 1 to 63 characters of a-z, 0-9 and -, not starting or ending with -.',
  ],
  [[], '', 'The body must be an object.'],
])('the message names the field: %p', (body, field, message) => {
  const error = thrownBy(() => validate(functionRegistrationSchema, body, 'body'))
  expect([error.message, error.details?.['field']]).toEqual([message, field])
})

test.each([
  [{ strategy: 'canary', canary: { steps: [{ nodes: 1.5 }] } }, 'canary.steps.0.nodes', '"10%"'],
  [{ max_failed: [] }, 'max_failed', 'a whole number of nodes'],
  [{ target: ['tokyo', '!tokyo'] }, 'target', 'POP ids in one string'],
  [{ target: 'Tokyo!' }, 'target', 'POP ids'],
  [{ sticky: { path: 'a' } }, 'sticky', '{"header": NAME}'],
])('of a field that takes several kinds it says which: %p', (body, field, message) => {
  const error = thrownBy(() => validate(deploymentCreationSchema, body, 'body'))
  expect(error.message).toStartWith(`Field ${field} of the body must be`)
  expect(error.message).toContain(message)
})

test('half a surrogate pair is no value of a secret: it could not be given back', () => {
  const put = (value: string) => validate(secretPutSchema, { name: 'KEY', value }, 'body')
  expect(put('\u{1f600}').value).toBe('\u{1f600}')
  expect(thrownBy(() => put('a\ud800b')).message).toContain('must be text that UTF-8 can hold')
})

test('all wrong fields are listed, up to a bound', () => {
  const schema = z.strictObject({ items: z.array(z.int()) })
  const two = thrownBy(() => validate(schema, { items: [1, 'a', 'b'] }, 'query'))
  expect(two.details?.['fields']).toEqual([
    { field: 'items.1', message: 'Field items.1 of the query must be a number.' },
    { field: 'items.2', message: 'Field items.2 of the query must be a number.' },
  ])
  const many = thrownBy(() => validate(schema, { items: Array(1000).fill('a') }, 'query'))
  expect(many.details?.['fields']).toHaveLength(20)
})
