/** Readers of single values: what they take, what they refuse, and that what is written out reads back. */

import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { z } from 'zod'

import { artifacts } from '../../src/config/artifacts.ts'
import {
  address,
  addressOrOff,
  addressText,
  duration,
  integer,
  matching,
  size,
  url,
} from '../../src/config/values.ts'

describe('address', () => {
  const accepted = [
    ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
    ['[::1]:1883', { host: '::1', port: 1883 }],
    [':9090', { host: '0.0.0.0', port: 9090 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
  ] as const
  test.each(accepted)('reads %p', (text, expected) => {
    expect(address(text)).toEqual(expected)
  })

  test.each(['8080', 'host', 'host:', 'host:65536', '::1:80', '[::1]', 'a b:1', 'host:-1', ''])(
    'refuses %p',
    (text) => {
      expect(() => address(text)).toThrow('must be HOST:PORT')
    },
  )

  test('what is written out reads back', () => {
    const hosts = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain())
    fc.assert(
      fc.property(hosts, fc.nat(65_535), (host, port) => {
        expect(address(addressText({ host, port }))).toEqual({ host, port })
      }),
    )
  })

  test('off is no address', () => {
    expect(addressOrOff('off')).toBeNull()
    expect(() => addressOrOff('of')).toThrow('or off')
  })
})

describe('duration', () => {
  const read = duration('1ms', '7d')
  const accepted = [
    ['500ms', 500],
    ['30s', 30_000],
    ['15m', 900_000],
    ['1.5h', 5_400_000],
    ['7d', 604_800_000],
  ] as const
  test.each(accepted)('reads %p', (text, ms) => {
    expect(read(text)).toBe(ms)
  })

  test.each(['30', 's', '-1s', '1 s', '1w', '8d', '0ms', ''])('refuses %p', (text) => {
    expect(() => read(text)).toThrow(/^must be/)
  })
})

describe('size', () => {
  const accepted = [
    ['10GiB', 10 * 2 ** 30],
    ['512MiB', 512 * 2 ** 20],
    ['10GB', 10e9],
    ['64', 64],
    ['1.5kB', 1500],
  ] as const
  test.each(accepted)('reads %p', (text, bytes) => {
    expect(size()(text)).toBe(bytes)
  })

  test.each(['GiB', '-1', '1gib', '1 GiB', '', '999999999999TiB'])('refuses %p', (text) => {
    expect(() => size()(text)).toThrow(/^must be/)
  })
})

test('a whole number is read within its bounds only', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer(), fc.integer(), (number, a, b) => {
      const [min, max] = [Math.min(a, b), Math.max(a, b)]
      const read = () => integer(min, max)(String(number))
      if (number >= min && number <= max) expect(read()).toBe(number)
      else expect(read).toThrow(`must be a whole number from ${min} to ${max}`)
    }),
  )
})

test('a URL loses its trailing slash and must have the scheme and a host', () => {
  expect(url('http', 'https')('https://cp.example.com/')).toBe('https://cp.example.com')
  for (const wrong of ['cp.example.com', 'ftp://x', 'http://', 'localhost:8080']) {
    expect(() => url('http', 'https')(wrong)).toThrow('http:// or https://')
  }
})

describe('artifacts', () => {
  test('reads a directory and a bucket', () => {
    expect(artifacts('fs:/data/x')).toEqual({ kind: 'fs', dir: '/data/x' })
    expect(artifacts('s3://modules?endpoint=http://127.0.0.1:9000&region=eu-1')).toEqual({
      kind: 's3',
      bucket: 'modules',
      endpoint: 'http://127.0.0.1:9000',
      region: 'eu-1',
    })
    expect(artifacts('s3://modules')).toMatchObject({ endpoint: null, region: 'us-east-1' })
  })

  const refused = [
    ['/data', 'must be fs:DIR'],
    ['fs:', 'must be fs:DIR'],
    ['s3://', 'must be fs:DIR'],
    ['s3://b/path', 'must be fs:DIR'],
    ['s3://bucket?endpiont=x', 'unknown parameter "endpiont"'],
    ['s3://bucket?endpoint=minio:9000', 'starts with http://'],
    ['s3://key:secret@bucket', 'must not carry keys'],
  ] as const
  test.each(refused)('refuses %p', (text, reason) => {
    expect(() => artifacts(text)).toThrow(reason)
  })
})

describe('what a schema refuses', () => {
  test('is worded as the API words it', () => {
    const short = matching(z.string().min(16))
    expect(() => short('short')).toThrow('must have at least 16 characters')
    expect(() => matching(z.string().regex(/a/, 'must have an a'))('b')).toThrow('must have an a')
  })
})
