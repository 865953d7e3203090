import { describe, expect, test } from 'bun:test'

import fc from 'fast-check'

import { createAddressPolicy, parseRange } from '../../../../src/edge/worker/fetch/address.ts'
import {
  authorityOf,
  parseTarget,
  redirectTarget,
} from '../../../../src/edge/worker/fetch/target.ts'
import type { FetchTarget } from '../../../../src/edge/worker/fetch/target.ts'
import { isAllowed } from '../../../../src/protocol/http-allow.ts'
import { httpAllowSchema } from '../../../../src/protocol/http-allow-schema.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { FORBIDDEN_ADDRESSES, MALFORMED_URLS, NOT_ADDRESSES, PUBLIC_ADDRESSES } from './vectors.ts'

const publicOnly = createAddressPolicy([], () => [])

function target(url: string): FetchTarget {
  const parsed = parseTarget(url)
  if (parsed === null) throw new Error(`${url} is refused.`)
  return parsed
}

describe('addresses', () => {
  test.each([...FORBIDDEN_ADDRESSES])('%s is forbidden', (address) => {
    expect(publicOnly(address)).toBeString()
  })

  test.each([...NOT_ADDRESSES])('%p is not an address', (address) => {
    expect(publicOnly(address)).toBe('not an address')
  })

  test.each([...PUBLIC_ADDRESSES])('%s may be reached', (address) => {
    expect(publicOnly(address)).toBeNull()
  })

  test('the operator opens ranges, and nothing beside them', () => {
    const policy = createAddressPolicy(
      ['10.1.0.0/16', '127.0.0.1', 'fd00::/8'].map(parseRange),
      () => [],
    )
    for (const open of ['10.1.2.3', '127.0.0.1', 'fd12::1']) expect(policy(open)).toBeNull()
    for (const shut of ['10.2.0.1', '127.0.0.2', '::1', 'fc00::1', '::ffff:10.1.2.3']) {
      expect(policy(shut)).toBeString()
    }
  })

  test('public addresses of the node itself are forbidden until the operator opens them', () => {
    const own = () => ['8.8.8.8', '2606:4700:4700:0:0:0:0:1111']
    expect(createAddressPolicy([], own)('8.8.8.8')).toContain('node itself')
    expect(createAddressPolicy([], own)('2606:4700:4700::1111')).toContain('node itself')
    expect(createAddressPolicy([], own)('8.8.4.4')).toBeNull()
    expect(createAddressPolicy([parseRange('8.8.8.8/32')], own)('8.8.8.8')).toBeNull()
  })

  test.each(['', '10.0.0.0/33', 'fd00::/129', 'example.com', '10.0.0.0/', '10.0.0/x'])(
    '%p is not a range',
    (text) => {
      expect(() => parseRange(text)).toThrow('must be an address range')
    },
  )
})

describe('URLs', () => {
  test.each([...MALFORMED_URLS])('%p is refused', (url) => {
    expect(parseTarget(url)).toBeNull()
  })

  test('a URL is taken apart into what is connected to and what is asked', () => {
    expect(target('HTTPS://API.Example.com/a/../b?x=%20#part')).toEqual({
      scheme: 'https',
      host: 'api.example.com',
      port: 443,
      literal: false,
      path: '/b?x=%20',
      url: 'https://api.example.com/b?x=%20',
    })
    expect(target('http://example.com')).toMatchObject({ port: 80, path: '/' })
    expect(target('http://example.com?q')).toMatchObject({ host: 'example.com', path: '/?q' })
    expect(target('http://xn--bcher-kva.example/')).toMatchObject({ host: 'xn--bcher-kva.example' })
    expect(target('http://[0:0::0001]:8080/')).toMatchObject({ host: '::1', literal: true })
    expect(target('http://192.168.0.1/')).toMatchObject({ host: '192.168.0.1', literal: true })
  })

  test('a Host field has brackets and port where they are needed', () => {
    expect(authorityOf(target('http://[::1]:80/'))).toBe('[::1]')
    expect(authorityOf(target('https://example.com:80/'))).toBe('example.com:80')
  })

  test('a URL over its limit is refused', () => {
    const fits = `http://example.com/${'a'.repeat(LIMITS.fetchUrlBytesMax - 19)}`
    expect(parseTarget(fits)).not.toBeNull()
    expect(parseTarget(`${fits}a`)).toBeNull()
  })

  const redirects: readonly (readonly [string, string | null])[] = [
    ['/next', 'https://a.example/next'],
    ['next?x', 'https://a.example/dir/next?x'],
    ['//b.example/', 'https://b.example/'],
    ['http:\\\\169.254.169.254\\latest', 'http://169.254.169.254/latest'],
    ['http://2130706433/', 'http://127.0.0.1/'],
    ['http://①②⑦.⓪.⓪.①/', 'http://127.0.0.1/'],
    ['ht\ntp://b.example/', 'http://b.example/'],
    ['http://bücher.example/#part', 'http://xn--bcher-kva.example/'],
    ['http://user@b.example/', null],
    ['http://localhost./', null],
    ['file:///etc/passwd', null],
    ['javascript:alert(1)', null],
    ['http://b.example:99999/', null],
    ['http://[fe80::1%25lo]/', null],
  ]
  test.each(redirects)('a redirect to %p leads to %p', (location, url) => {
    expect(redirectTarget(location, target('https://a.example/dir/page'))?.url ?? null).toBe(url)
  })

  test('Promise 10: whatever is accepted reads the same to the URL standard, and to itself', () => {
    const pieces = fc.constantFrom(
      ...['http', 'https', '://', ':', '/', '\\', '@', '.', '..', '#', '?', '%', '[', ']', '::1'],
      ...[
        '127.0.0.1',
        '0x7f',
        '1',
        'localhost',
        'example.com',
        '80',
        '\t',
        '\n',
        ' ',
        'é',
        '。',
        '①',
      ],
    )
    const urls = fc.oneof(
      fc.webUrl(),
      fc.array(pieces, { maxLength: 9 }).map((parts) => `http://${parts.join('')}`),
      fc.array(pieces, { maxLength: 9 }).map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(urls, (url) => {
        const parsed = parseTarget(url)
        if (parsed === null) return
        const standard = new URL(url)
        expect(standard.hostname.replace(/^\[|\]$/g, '')).toBe(parsed.host)
        expect(Number(standard.port || (parsed.scheme === 'https' ? 443 : 80))).toBe(parsed.port)
        expect(standard.username + standard.password).toBe('')
        expect(parseTarget(parsed.url)).toEqual(parsed)
        expect(parsed.path).toMatch(/^\/[!-~]*$/)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('allow-lists', () => {
  const takes: readonly (readonly [string, string, boolean])[] = [
    ['api.example.com', 'https://api.example.com/x', true],
    ['api.example.com', 'http://api.example.com/x', true],
    ['api.example.com', 'http://API.example.COM/', true],
    ['api.example.com', 'https://api.example.com:8443/', false],
    ['api.example.com', 'http://api.example.com:443/', false],
    ['api.example.com', 'https://example.com/', false],
    ['api.example.com', 'https://api.example.com.evil.test/', false],
    ['api.example.com', 'https://xapi.example.com/', false],
    ['https://api.example.com', 'http://api.example.com/', false],
    ['https://api.example.com', 'https://api.example.com/', true],
    ['api.example.com:8443', 'https://api.example.com:8443/', true],
    ['api.example.com:8443', 'http://api.example.com:8443/', true],
    ['api.example.com:8443', 'https://api.example.com/', false],
    ['*.example.com', 'https://a.example.com/', true],
    ['*.example.com', 'https://a.b.example.com/', true],
    ['*.example.com', 'https://example.com/', false],
    ['*.example.com', 'https://evilexample.com/', false],
    ['*.example.com', 'https://a.example.com.evil.test/', false],
    ['127.0.0.1:8080', 'http://127.0.0.1:8080/', true],
    ['127.0.0.1:8080', 'http://127.0.0.1/', false],
    ['[::1]:8080', 'http://[0:0:0:0:0:0:0:1]:8080/', true],
    ['http://[0::1]', 'http://[::1]/', true],
  ]
  test.each(takes)('%s on %s is %p', (pattern, url, expected) => {
    expect(httpAllowSchema.parse([pattern])).toEqual([pattern])
    expect(isAllowed([pattern], target(url))).toBe(expected)
  })

  test('an empty list allows nothing', () => {
    expect(isAllowed([], target('https://example.com/'))).toBe(false)
  })

  test.each([
    ...[
      '',
      '*',
      '*.',
      '*.com',
      '**.example.com',
      'a.*.example.com',
      'ex*mple.com',
      'API.example.com',
    ],
    ...[
      'example.com/',
      'example.com/path',
      'ftp://example.com',
      'user@example.com',
      'example.com.',
    ],
    ...['example.com:0', 'example.com:65536', 'example.com:', '127.1', '2130706433', '0x7f.0.0.1'],
    ...['*.0.0.1', '*.[::1]', 'bücher.example', 'exa mple.com', '[::1', '-a.example', 'a..example'],
    'http://',
  ])('%p is not a pattern', (pattern) => {
    expect(httpAllowSchema.safeParse([pattern]).success).toBe(false)
    expect(isAllowed([pattern], target('https://example.com/'))).toBe(false)
  })

  test('a list has a limit, and so has a pattern', () => {
    const many = Array.from({ length: LIMITS.httpAllowMax }, (_, index) => `h${index}.example`)
    expect(httpAllowSchema.safeParse(many).success).toBe(true)
    expect(httpAllowSchema.safeParse([...many, 'one.example']).success).toBe(false)
    const long = `${'a.'.repeat(LIMITS.httpAllowCharsMax / 2)}example`
    expect(httpAllowSchema.safeParse([long]).success).toBe(false)
  })
})
