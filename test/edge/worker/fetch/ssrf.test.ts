import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

import { lookUp } from '../../../../src/edge/worker/fetch/lookups.ts'
import { fetching, guestRequest } from './fetching.ts'
import type { FetchingOptions } from './fetching.ts'
import { redirect, startOrigin, text } from './origin.ts'
import type { Origin } from './origin.ts'
import { FORBIDDEN_ADDRESSES, MALFORMED_URLS } from './vectors.ts'

/** The only place that may be reached, 127.0.0.1; and one at each of these that must never be, on the same port. */
const GUARDED = ['127.0.0.2', '127.1.2.3', '::1'] as const
let front: Origin
let guarded: Origin[]
let location = ''

beforeAll(async () => {
  // The guarded ones listen first: with the same port, whatever URL names it leads to them or to nobody.
  const first = await startOrigin({ host: GUARDED[0] })
  const rest = await Promise.all(
    GUARDED.slice(1).map((host) => startOrigin({ host, port: first.port })),
  )
  guarded = [first, ...rest]
  front = await startOrigin({
    port: first.port,
    answer: ({ path }) => (path === '/go' ? redirect(location) : text('front')),
  })
})
afterAll(async () => {
  await Promise.all([front, ...guarded].map((each) => each.close()))
})

const visits = () => guarded.reduce((sum, each) => sum + each.connections(), 0)
/** The same with the front, where that is not to be reached either. */
const allVisits = () => visits() + front.connections()

/** Everything that a generous list could name: the names of the vectors, on any port in question. */
const generous = (...hosts: readonly string[]) =>
  ['localhost', '*.example.com', ...GUARDED.slice(0, 2), '[::1]', '127.0.0.1', ...hosts]
    .map((host) => [host, `${host}:${front.port}`])
    .flat()

/** What may come of an attempt: any refusal. `network` is not among them, for then somebody was connected to. */
const REFUSALS = ['invalid', 'not_allowed', 'forbidden_address', 'too_large']

async function refused(url: string, options: FetchingOptions = {}): Promise<void> {
  const before = visits()
  const everyone = allVisits()
  const request = new Uint8Array(Buffer.from(`GET ${url}\r\n\r\n`))
  const result = await fetching(request, { allow: generous(), resolve: lookUp, ...options })
  expect(REFUSALS).toContain(result as string)
  expect(visits()).toBe(before)
  if (options.open?.length === 0) expect(allVisits()).toBe(everyone)
}

describe('written as a URL', () => {
  const spelled = (host: string) => `http://${host}:PORT/secret`
  const direct: readonly string[] = [
    ...['127.0.0.2', '127.1.2.3', '[::1]', 'localhost', 'LOCALHOST', '[0:0:0:0:0:0:0:1]'].map(
      spelled,
    ),
    ...['[::127.0.0.2]', '[::ffff:127.0.0.2]', '[::ffff:7f00:2]', '[::ffff:0:127.0.0.2]'].map(
      spelled,
    ),
    ...['[64:ff9b::127.0.0.2]', '[2002:7f00:2::]', '[0000::1]', '[::]', '0.0.0.0'].map(spelled),
    ...['2130706434', '0x7f000002', '0x7f.0.0.2', '017700000002', '0177.0.0.2', '127.2'].map(
      spelled,
    ),
    ...['127.0.2', '127.0.0.2.', 'localhost.', '%31%32%37.0.0.2', '127%2e0%2e0%2e2'].map(spelled),
    ...['①②⑦.0.0.②', '127。0。0。2', '127.0.0.2%00', '127.0.0.2\t', '127.0.0.2#', '[::1%lo]'].map(
      spelled,
    ),
    ...['user@127.0.0.2', '127.0.0.1@127.0.0.2', '127.0.0.1:80@127.0.0.2', '@[::1]'].map(spelled),
    ...['127.0.0.1\\@127.0.0.2', '127.0.0.1#@127.0.0.2', '127.0.0.1?@127.0.0.2'].map(spelled),
    'http:\\\\127.0.0.2:PORT\\secret',
    'http:/127.0.0.2:PORT/secret',
    'http:127.0.0.2:PORT/secret',
    '//127.0.0.2:PORT/secret',
    'HTTP://127.0.0.2:PORT/secret',
    'https://127.0.0.2:PORT/secret',
    'ftp://127.0.0.2:PORT/secret',
    'gopher://127.0.0.2:PORT/_secret',
    ' http://127.0.0.2:PORT/',
    'http://127.0.0.2:PORT/ HTTP/1.1\r\nHost: 127.0.0.1',
  ]
  test.each(direct)('%p reaches nobody', async (url) => {
    await refused(url.replaceAll('PORT', String(front.port)), { open: [] })
  })

  test.each([...MALFORMED_URLS])('%p reaches nobody', async (url) => {
    await refused(url, { open: [] })
  })
})

describe('behind a name', () => {
  test.each([...FORBIDDEN_ADDRESSES])(
    'at %s reaches nobody, even beside a public address',
    async (address) => {
      for (const addresses of [[address], ['127.0.0.1', address], [address, '127.0.0.1']]) {
        const resolve = async () => addresses
        const options = { allow: generous(), resolve, open: ['127.0.0.1/32'] }
        // 127.0.0.1 stands for a public address here, so it must not be the one under test.
        if (address === '127.0.0.1') Object.assign(options, { open: [] })
        await refused(`http://api.example.com:${front.port}/`, options)
      }
    },
  )

  test('that changes its mind after the check is asked only once (DNS rebinding)', async () => {
    const answers = [['127.0.0.1'], ['127.0.0.2'], ['127.0.0.1', '127.0.0.2']]
    let asked = 0
    const resolve = async () => answers[asked++] ?? []
    const options = { allow: generous(), resolve }
    const before = visits()
    const request = guestRequest(`GET http://api.example.com:${front.port}/`)
    expect(await fetching(request, options)).toMatchObject({ body: 'front' })
    expect(asked).toBe(1)
    expect(await fetching(request, options)).toBe('forbidden_address')
    expect(await fetching(request, options)).toBe('forbidden_address')
    expect(visits()).toBe(before)
  })

  test('that changes its mind between a request and its redirect', async () => {
    const answers = [['127.0.0.1'], ['127.0.0.2']]
    let asked = 0
    const resolve = async () => answers[asked++] ?? []
    location = '/secret'
    const before = visits()
    const request = guestRequest(`GET http://api.example.com:${front.port}/go`)
    expect(await fetching(request, { allow: generous(), resolve })).toBe('forbidden_address')
    expect([asked, visits()]).toEqual([2, before])
  })
})

describe('behind a redirect', () => {
  const locations: readonly string[] = [
    ...[
      '127.0.0.2',
      '127.1.2.3',
      '[::1]',
      'localhost',
      '2130706434',
      '0x7f.2',
      '0177.0.0.2',
      '127.2',
    ],
    ...['①②⑦.0.0.②', '127。0。0。2', '%31%32%37.0.0.2', '[::ffff:127.0.0.2]', '[64:ff9b::7f00:2]'],
    ...[
      'user@127.0.0.2',
      '127.0.0.1@127.0.0.2',
      'localhost.',
      '127.0.0.2.',
      '[::]',
      '0.0.0.0',
      '0',
    ],
    ...['127.0.0.2\\.example.com', '\t127.0.0.2', '169.254.169.254', '10.0.0.1'],
    ...['[fd00:ec2::254]', '[fe80::1]', 'inside.example.com'],
  ].map((host) => `http://${host}:PORT/secret`)
  const others = [
    '//127.0.0.2:PORT/',
    '\\\\127.0.0.2:PORT\\',
    '/\\127.0.0.2:PORT/',
    'http:\\\\127.0.0.2:PORT',
    'HTTPS://127.0.0.2:PORT/',
    'file:///etc/passwd',
    'gopher://127.0.0.2:PORT/_x',
    'ftp://127.0.0.2:PORT/',
    'javascript:alert(1)',
    'data:text/html,x',
    'unix:/run/docker.sock',
  ]
  test.each([...locations, ...others])('to %p is not followed', async (to) => {
    location = to.replaceAll('PORT', String(front.port))
    const names = new Map([
      ['inside.example.com', '127.0.0.2'],
      ['localhost', '::1'],
    ])
    const resolve = async (host: string) => [names.get(host) ?? '127.0.0.2']
    const asked = front.requests.length
    const list = generous('169.254.169.254', '10.0.0.1', '[fd00:ec2::254]', '[fe80::1]', '0.0.0.0')
    await refused(`${front.url}/go`, { allow: list, resolve })
    expect(front.requests.slice(asked).map(({ path }) => path)).toEqual(['/go'])
  })
})
