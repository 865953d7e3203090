import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'

import { createAddressPolicy, parseRange } from '../../../../src/edge/worker/fetch/address.ts'
import { createLookups, lookUp } from '../../../../src/edge/worker/fetch/lookups.ts'
import type { ToFetchThread } from '../../../../src/edge/worker/fetch/messages.ts'
import { FETCH_CODES, failureOf } from '../../../../src/edge/worker/fetch/outcome.ts'
import { createFetchService } from '../../../../src/edge/worker/fetch/service.ts'
import {
  ResponseReader,
  sharedResponseBytes,
} from '../../../../src/edge/worker/fetch/shared-response.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { until } from '../../../e2e/harness.ts'
import { deafListener } from './deaf-listener.ts'
import { fetching, guestRequest } from './fetching.ts'
import { startOrigin, text } from './origin.ts'
import type { Origin } from './origin.ts'

/** Says hello, or at /hang a head and nothing more. */
let server: Origin
beforeAll(async () => {
  server = await startOrigin({
    answer({ path }, socket) {
      if (path !== '/hang') return text('hello')
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      return null
    },
  })
})
afterAll(() => server.close())

const { fetchesPerFunctionMax, fetchesPerWorkerMax } = LIMITS

function service() {
  const counts = new Map<string, number>()
  const made = createFetchService({
    resolve: async () => [],
    forbidden: createAddressPolicy([parseRange('127.0.0.1/32')], () => []),
    authorities: null,
    count: (outcome, times) => counts.set(outcome, (counts.get(outcome) ?? 0) + times),
  })
  let ids = 0
  function start(owner: string, path = '/hang'): ToFetchThread & { type: 'start' } {
    return {
      type: 'start',
      id: (ids += 1),
      memory: new SharedArrayBuffer(sharedResponseBytes),
      text: guestRequest(`GET ${server.url}${path}`),
      places: '',
      allow: [`127.0.0.1:${server.port}`],
      owner,
      left_ms: 20_000,
    }
  }
  return { made, counts, start }
}

/** What has come of a fetch by now: 1 when its head is there, a code, or null. */
const result = ({ memory }: { memory: SharedArrayBuffer }) =>
  new ResponseReader(memory).waitHead(() => 0)

test('a function version has so many fetches open in a worker, and its neighbours theirs', async () => {
  const { made, counts, start } = service()
  const client = made.connect()
  const open = Array.from({ length: fetchesPerFunctionMax }, () => start('greedy'))
  for (const each of open) client.take(each)
  await until('all have their heads', () => open.every((each) => result(each) === 1))
  const late = start('greedy')
  // Another executor thread changes nothing: what is limited is the version.
  made.connect().take(late)
  expect(result(late)).toBe(-10)
  const neighbour = start('other', '/')
  client.take(neighbour)
  await until('the neighbour has its head', () => result(neighbour) === 1)
  client.take({ type: 'cancel', id: open[0]?.id ?? 0 })
  await until(
    'one has ended',
    () => new ResponseReader(open[0]?.memory as SharedArrayBuffer).released,
  )
  const next = start('greedy', '/')
  client.take(next)
  await until('the next has its head', () => result(next) === 1)
  client.close()
  await server.idle()
  expect(counts).toEqual(
    new Map([
      ['too_many_fetches', 1],
      ['ok', fetchesPerFunctionMax + 2],
    ]),
  )
})

test('a worker has so many fetches open', async () => {
  const { made, start } = service()
  const client = made.connect()
  const open = Array.from({ length: fetchesPerWorkerMax }, (_, index) => start(`f${index >> 3}`))
  for (const each of open) client.take(each)
  const late = start('one more')
  client.take(late)
  expect(result(late)).toBe(-10)
  client.close()
  await server.idle()
})

test('an executor thread that goes away leaves no connection', async () => {
  const { made, start } = service()
  const clients = [made.connect(), made.connect()]
  const open = clients.map((client) => {
    const each = start('f')
    client.take(each)
    return each
  })
  await until('both have their heads', () => open.every((each) => result(each) === 1))
  expect(server.open()).toBe(2)
  clients[0]?.close()
  await until('one is gone', () => server.open() === 1)
  clients[1]?.close()
  await server.idle()
})

test('names that hang are limited by function, long after their fetches are over', async () => {
  const hanging = new Set<() => void>()
  const lookups = createLookups((host) => {
    if (host === 'quick') return Promise.resolve(['8.8.8.8'])
    return new Promise((_resolve, reject) => hanging.add(() => reject(new Error('gone'))))
  })
  const ask = (owner: string, host: string) =>
    lookups(owner)(host).catch((thrown: unknown) => failureOf(thrown))
  const first = Array.from({ length: fetchesPerFunctionMax }, () => ask('greedy', 'slow'))
  expect(await ask('greedy', 'quick')).toBe('too_many_fetches')
  expect(await ask('other', 'quick')).toEqual(['8.8.8.8'])
  for (const end of hanging) end()
  expect(await Promise.all(first)).toEqual(Array(fetchesPerFunctionMax).fill('network'))
  expect(await ask('greedy', 'quick')).toEqual(['8.8.8.8'])
  const many = Array.from({ length: 1024 }, (_, index) => ask(`f${index >> 4}`, 'slow'))
  expect(await ask('other', 'quick')).toBe('unavailable')
  for (const end of hanging) end()
  await Promise.all(many)
})

test('the names of the machine are found', async () => {
  expect(await lookUp('localhost')).toContain('127.0.0.1')
  expect(await lookUp('x.localhost')).toContain('127.0.0.1')
})

test('a head that grows when it is written out for the guest is too large', async () => {
  const { made, start } = service()
  const fields = await startOrigin({ answer: () => `HTTP/1.1 200 OK\n${'a:\n'.repeat(20_000)}\n` })
  const fetch = start('f', '/')
  const request = guestRequest(`GET ${fields.url}/`)
  made.connect().take({ ...fetch, text: request, allow: [`127.0.0.1:${fields.port}`] })
  await until('it has ended', () => result(fetch) !== null)
  expect(result(fetch)).toBe(-3)
  await fields.idle()
  await fields.close()
})

test('a text that is no request, or has gone in circles, is refused and counted', async () => {
  const { made, counts, start } = service()
  const client = made.connect()
  const refused = [
    { ...start('f'), text: new Uint8Array(Buffer.from('nonsense')) },
    { ...start('f'), places: Array(LIMITS.fetchLoopsMax).fill('edgefn').join(', ') },
  ]
  for (const message of refused) client.take(message)
  expect(refused.map(result)).toEqual([FETCH_CODES.invalid, FETCH_CODES.too_many_redirects])
  expect([...counts]).toEqual([
    ['invalid', 1],
    ['too_many_redirects', 1],
  ])
})

test('a connection that is not answered ends with the time', async () => {
  const deaf = await deafListener()
  const from = performance.now()
  const options = { allow: [`127.0.0.1:${deaf.port}`], limitMs: 200, open: ['127.0.0.0/8'] }
  const outcome = await fetching(guestRequest(`GET http://127.0.0.1:${deaf.port}/`), options)
  deaf.close()
  expect(outcome).toBe('timeout')
  expect(performance.now() - from).toBeWithin(190, 5000)
})

test('no proxy is used, whatever the environment says', async () => {
  const proxy = await startOrigin({ answer: () => text('proxy') })
  const env = { ...process.env, http_proxy: proxy.url, HTTP_PROXY: proxy.url, ALL_PROXY: proxy.url }
  const script = join(import.meta.dir, 'proxied.ts')
  const child = Bun.spawn([process.execPath, script, `${server.url}/`], { env, stdout: 'pipe' })
  expect(await child.stdout.json()).toEqual({ byBun: 'proxy', ours: 'hello' })
  expect(proxy.connections()).toBe(1)
  await proxy.close()
})
