import { afterEach, describe, expect, test } from 'bun:test'

import { LIMITS } from '../../../../src/protocol/limits.ts'
import { fetched, fetching, guestRequest } from './fetching.ts'
import { redirect, startOrigin, text } from './origin.ts'
import type { Origin, OriginOptions } from './origin.ts'

const origins: Origin[] = []
afterEach(async () => {
  await Promise.all(origins.splice(0).map((origin) => origin.close()))
})

async function origin(options: OriginOptions = {}): Promise<Origin> {
  const started = await startOrigin(options)
  origins.push(started)
  return started
}

const allow = (...of: readonly Origin[]) => of.map(({ port }) => `127.0.0.1:${port}`)

describe('a redirect', () => {
  /** An origin that redirects to `location` once, and says hello then. */
  function redirecting(location: string, status = 302): Promise<Origin> {
    return origin({
      answer: ({ path }) => (path === '/from' ? redirect(location, status) : text('hello')),
    })
  }

  test('is followed on the same origin', async () => {
    const server = await redirecting('/to?x')
    const request = guestRequest(`GET ${server.url}/from`, 'authorization: a\r\ncookie: b\r\n')
    expect((await fetched(request, { allow: allow(server) })).body).toBe('hello')
    const [, second] = server.requests
    expect(second?.path).toBe('/to?x')
    expect(second?.head).toContain('authorization: a')
    expect(second?.head).toContain('cookie: b')
  })

  test('to another origin takes no credentials along', async () => {
    const other = await origin()
    const server = await redirecting(`${other.url}/to`)
    const fields = 'authorization: a\r\nCookie: b\r\nx-kept: c\r\n'
    const options = { allow: allow(server, other) }
    await fetched(guestRequest(`GET ${server.url}/from`, fields), options)
    expect(other.requests[0]?.head).not.toMatch(/authorization|cookie/i)
    expect(other.requests[0]?.head).toContain('x-kept: c')
  })

  const methods: readonly (readonly [string, number, string, boolean])[] = [
    ['POST', 301, 'GET', false],
    ['POST', 302, 'GET', false],
    ['POST', 303, 'GET', false],
    ['PUT', 303, 'GET', false],
    ['PUT', 302, 'PUT', true],
    ['POST', 307, 'POST', true],
    ['POST', 308, 'POST', true],
    ['HEAD', 303, 'HEAD', false],
    ['GET', 301, 'GET', false],
  ]
  test.each(methods)('of %s by %d becomes %s', async (method, status, becomes, keepsBody) => {
    const server = await redirecting('/to', status)
    const body = method === 'GET' || method === 'HEAD' ? '' : 'body'
    const fields = body === '' ? '' : 'content-type: text/plain\r\n'
    await fetched(guestRequest(`${method} ${server.url}/from`, fields, body), {
      allow: allow(server),
    })
    const [, second] = server.requests
    expect(second).toMatchObject({ method: becomes, body: keepsBody ? body : '' })
    expect(second?.head.includes('content-type')).toBe(keepsBody)
  })

  test('without a location is the answer itself', async () => {
    const server = await origin({ answer: () => text('where?', '', '302 Found') })
    const response = await fetched(guestRequest(`GET ${server.url}/`), { allow: allow(server) })
    expect(response).toMatchObject({ status: 302, body: 'where?' })
  })

  test('after redirect ends at the limit', async () => {
    const server = await origin({ answer: ({ path }) => redirect(`${path}x`) })
    const request = guestRequest(`GET ${server.url}/`)
    expect(await fetching(request, { allow: allow(server) })).toBe('too_many_redirects')
    expect(server.requests).toHaveLength(LIMITS.fetchRedirectsMax + 1)
    await server.idle()
  })

  test('to a host that is not on the list is not allowed', async () => {
    const other = await origin()
    const server = await redirecting(`${other.url}/`)
    const request = guestRequest(`GET ${server.url}/from`)
    expect(await fetching(request, { allow: allow(server) })).toBe('not_allowed')
    expect(other.connections()).toBe(0)
  })
})
