/** The client of the API and the exit codes that follow from its answers, over real HTTP. */

import { afterAll, describe, expect, test } from 'bun:test'
import { z } from 'zod'

import { createApiClient } from '../../src/cli/api-client.ts'
import { EXIT } from '../../src/cli/exit.ts'
import { runCaptured } from './capture.ts'

const ERROR = {
  error: { code: 'function_not_found', message: 'No such.', request_id: 'r-1', retryable: false },
}

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url)
    if (pathname === '/upload') {
      const length = request.headers.get('content-length')
      const bytes = new Uint8Array(await request.arrayBuffer())
      return bytes.length === Number(length) && bytes.every((byte) => byte === 7)
        ? new Response(null, { status: 204 })
        : new Response(`got ${bytes.length} of ${length}`, { status: 400 })
    }
    if (request.headers.get('authorization') !== 'Bearer k') {
      const error = { ...ERROR.error, code: 'unauthenticated', message: 'Bad key.' }
      return Response.json({ error }, { status: 401 })
    }
    if (pathname === '/api/v1/pages') {
      const from = Number(searchParams.get('cursor') ?? 0)
      const cursor = from < 4 ? String(from + 2) : null
      return Response.json({ items: [from, from + 1], next_cursor: cursor })
    }
    if (pathname.endsWith('/broken')) return new Response('<h1>Bad gateway</h1>', { status: 502 })
    if (pathname.endsWith('/newer')) return Response.json({ id: { a: 1, more: 2 }, more: [] })
    if (pathname.endsWith('/odd')) return Response.json({ id: 1 })
    return Response.json(ERROR, { status: 404 })
  },
})
afterAll(() => server.stop(true))

const base = server.url.origin
const client = createApiClient(base, 'k')

test('a list is read to its last page', async () => {
  expect(await client.list('/pages', z.int())).toEqual([0, 1, 2, 3, 4, 5])
})

test('an upload sends its length and all bytes, and tells how far it is', async () => {
  const bytes = new Uint8Array(1_000_000).fill(7)
  const seen: number[] = []
  await client.upload(`${base}/upload`, bytes, (sent) => seen.push(sent))
  expect(seen.at(-1)).toBe(bytes.length)
  expect(seen).toEqual(seen.toSorted((a, b) => a - b))
})

test('an answer that is not what was asked for is an error that says so', async () => {
  const answer = client.get('/odd', z.strictObject({ name: z.string() }))
  await expect(answer).rejects.toThrow('is not what this version of edgefn expects')
})

test('a control plane that is newer says more than is asked for, which is left out', async () => {
  const answer = await client.get('/newer', z.strictObject({ id: z.strictObject({ a: z.int() }) }))
  expect(answer).toEqual({ id: { a: 1 } })
})

describe('exit codes', () => {
  const flags = ['--cp', base, '--api-key', 'k']

  test('a refusal is printed with its code and request id, and is 4', async () => {
    const { code, err } = await runCaptured(['functions', 'show', 'x', ...flags])
    expect(code).toBe(EXIT.refused)
    expect(err).toBe('error: No such. (function_not_found, request r-1)\n')
  })

  test('a wrong key is 4, with a hint where the key comes from', async () => {
    const words = ['functions', 'list', '--cp', base, '--api-key', 'wrong']
    const { code, err } = await runCaptured(words)
    expect(code).toBe(EXIT.refused)
    expect(err).toContain('hint: the key comes from')
  })

  test('a server error of whatever stands before the control plane is 3', async () => {
    const { code, err } = await runCaptured(['functions', 'show', 'broken', ...flags])
    expect(code).toBe(EXIT.unreachable)
    expect(err).toContain('HTTP 502: <h1>Bad gateway</h1>')
  })

  test('nobody there is 3', async () => {
    const gone = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response() })
    const origin = gone.url.origin
    await gone.stop(true)
    const { code, err } = await runCaptured(['nodes', 'list', '--cp', origin, '--api-key', 'k'])
    expect(code).toBe(EXIT.unreachable)
    expect(err).toContain(`${origin} does not answer`)
  })
})
