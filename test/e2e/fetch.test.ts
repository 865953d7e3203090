import { afterAll, beforeAll, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { FunctionDetail, VersionView } from '../../src/protocol/api.ts'
import { CERTIFICATE, KEY } from '../edge/worker/fetch/certificates.ts'
import { redirect, startOrigin, text } from '../edge/worker/fetch/origin.ts'
import type { Origin } from '../edge/worker/fetch/origin.ts'
import { ControlPlane, GUESTS, Node, until, World } from './harness.ts'
import type { Page } from './harness.ts'

let world: World
let plane: ControlPlane
/** Its operator opens 127.0.0.1 and ::1, and trusts the test's certificate. */
let open: Node
/** Its operator opens nothing. */
let shut: Node
let server: Origin
let guarded: Origin

const guest = join(GUESTS, 'fetch-c.wasm')

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  guarded = await startOrigin({ host: '127.0.0.2' })
  server = await startOrigin({
    answer({ path }) {
      if (path === '/inside') return redirect(`http://127.0.0.2:${guarded.port}/`)
      return path === '/hang' ? null : text(`hello from ${path}`)
    },
  })
  open = await Node.create(world, plane, {
    id: 'open',
    pop: 'open-1',
    flags: ['--fetch-allow-private', '127.0.0.1/32', '--fetch-allow-private', '::1/128'],
  })
  shut = await Node.create(world, plane, { id: 'shut', pop: 'shut-1' })
  const trusted = join(world.dir, 'trusted.pem')
  writeFileSync(trusted, CERTIFICATE)
  process.env['NODE_EXTRA_CA_CERTS'] = trusted
  const starting = open.start()
  delete process.env['NODE_EXTRA_CA_CERTS']
  await Promise.all([starting, shut.start()])
}, 120_000)
afterAll(async () => {
  await world.close()
  await Promise.all([server.close(), guarded.close()])
}, 120_000)

const tell = async (node: Node, path: string, url: string) =>
  (await node.get(path, { method: 'POST', body: `GET ${url}\r\n\r\n` })).text()

test('a deployed function reaches what its list and the operator of the node allow', async () => {
  const lists = [
    '--allow-http',
    `127.0.0.1:${server.port}`,
    '--allow-http',
    `127.0.0.2:${guarded.port}`,
  ]
  const words = ['--name', 'asks', '--route', '/asks/*', '--max-execution-ms', '2000']
  await plane.run('deploy', guest, ...words, ...lists)
  const head = `Status: 200\r\ncontent-length: 13\r\n\n`
  expect(await tell(open, '/asks/whole', `${server.url}/a`)).toBe(
    `result 1\n${head}hello from /a\nend 0\nclose 0\n`,
  )
  const asked = server.requests.length
  expect(await tell(shut, '/asks/whole', `${server.url}/b`)).toBe('result -7\n')
  expect(await tell(open, '/asks/whole', `${server.url.replace(/\d+$/, '1')}/`)).toBe('result -6\n')
  expect(server.requests).toHaveLength(asked)
  expect(await tell(open, '/asks/whole', `${server.url}/inside`)).toBe('result -7\n')
  expect(await tell(open, '/asks/whole', `${guarded.url}/`)).toBe('result -7\n')
  expect(guarded.connections()).toBe(0)
  // They are counted in batches.
  for (const [node, fetches] of [
    [open, 4],
    [shut, 1],
  ] as const) {
    await until(
      'the fetches are counted',
      async () => (await node.metric('edgefn_fetch_total')) === fetches,
    )
  }
}, 120_000)

test('HTTPS works with a certificate that is good for the host, and with no other', async () => {
  const tls = { key: KEY, cert: CERTIFICATE }
  const secure = await startOrigin({ tls, answer: () => text('secret') })
  // It is for 127.0.0.1, and not for this name, which is found in /etc/hosts.
  const other = `https://localhost:${secure.port}/`
  const lists = ['127.0.0.1', 'localhost'].flatMap((host) => [
    '--allow-http',
    `https://${host}:${secure.port}`,
  ])
  const untrusting = await Node.create(world, plane, {
    id: 'untrusting',
    pop: 'untrusting-1',
    flags: ['--fetch-allow-private', '127.0.0.0/8', '--fetch-allow-private', '::1/128'],
  })
  await untrusting.start()
  await plane.run(
    'deploy',
    guest,
    '--name',
    'tls',
    '--route',
    '/tls/*',
    '--max-execution-ms',
    '2000',
    ...lists,
  )
  expect(await tell(open, '/tls/whole', secure.url)).toContain('\nsecret\nend 0')
  expect(secure.requests).toHaveLength(1)
  expect(await tell(untrusting, '/tls/whole', secure.url)).toBe('result -9\n')
  expect(await tell(untrusting, '/tls/whole', other)).toBe('result -9\n')
  expect(await tell(open, '/tls/whole', other)).toBe('result -9\n')
  expect(secure.requests).toHaveLength(1)
  await secure.close()
}, 120_000)

test('a guest that waits for a server is stopped at its deadline, and the server is left', async () => {
  const words = ['--name', 'waits', '--route', '/waits/*', '--max-execution-ms', '300']
  await plane.run('deploy', guest, ...words, '--allow-http', `127.0.0.1:${server.port}`)
  await tell(open, '/waits/whole', `${server.url}/warm`)
  const from = performance.now()
  const response = await open.get('/waits/whole', {
    method: 'POST',
    body: `GET ${server.url}/hang\r\n\r\n`,
  })
  const ms = performance.now() - from
  expect(response.status).toBe(504)
  expect(ms).toBeWithin(295, 5000)
  await server.idle()
}, 120_000)

test('the list is shown, is of one version, and a pattern that is none is refused', async () => {
  const pattern = `127.0.0.1:${server.port}`
  const detail: FunctionDetail = JSON.parse(
    await plane.run('functions', 'show', 'waits', '-o', 'json'),
  )
  expect(detail.latest?.http_allow).toEqual([pattern])
  expect(await plane.run('functions', 'show', 'waits')).toContain(pattern)
  await plane.run('deploy', guest, '--name', 'waits', '--force')
  const { items } = await plane.api<Page<VersionView>>('GET', '/functions/waits/versions')
  expect(items.map((version) => version.http_allow)).toEqual([[], [pattern]])
  expect(await plane.run('versions', 'list', 'waits')).toContain(pattern)
  expect(await tell(open, '/waits/whole', server.url)).toBe('result -6\n')
  for (const wrong of ['*', 'http://', '10.0.0.0/8', 'http://example.com/path']) {
    const refused = await plane.cli('deploy', guest, '--name', 'waits', '--allow-http', wrong)
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('--allow-http')])
  }
  const edge = await plane.cli('edge', '--pop', 'x-1', '--fetch-allow-private', 'example.com')
  expect([edge.code, edge.stderr]).toEqual([2, expect.stringContaining('--fetch-allow-private')])
}, 120_000)
