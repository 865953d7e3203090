/** Readers of single values: addresses, durations, sizes, counts, URLs. Each throws an Error that says what it wants. */

import { resolve } from 'node:path'

import { z } from 'zod'

import { wordIssue } from '../http/validate.ts'
import type { Address } from './modes.ts'
import type { Parse } from './option.ts'

/** Any text that is not empty. */
export function text(value: string): string {
  if (value === '') throw new Error('must not be empty')
  return value
}

/** A path, made absolute from the working directory. */
export function path(value: string): string {
  return resolve(text(value))
}

/** `host:port`, `[::1]:port`, or `:port` for every interface. */
export function address(value: string): Address {
  const match = /^(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:[\]/\s]*)):(\d{1,5})$/.exec(value)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) {
    throw new Error('must be HOST:PORT, [IPV6]:PORT or :PORT, with a port from 0 to 65535')
  }
  return { host: match[1] ?? (match[2] || '0.0.0.0'), port }
}

/** The text form of an address, as `address` reads it. */
export function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

const cidrSchema = z.union([z.cidrv4(), z.cidrv6()])

/** A range of addresses in CIDR notation: `10.0.0.0/8`, `fd00::/8`. */
export function addressRange(value: string): string {
  if (cidrSchema.safeParse(value).success) return value
  throw new Error('must be a range of addresses such as 10.0.0.0/8 or fd00::/8')
}

/** An address, or null for `off`. */
export function addressOrOff(value: string): Address | null {
  if (value === 'off') return null
  try {
    return address(value)
  } catch {
    throw new Error('must be HOST:PORT, [IPV6]:PORT, :PORT, or off')
  }
}

export function onOff(value: string): boolean {
  if (value === 'on' || value === 'true') return true
  if (value === 'off' || value === 'false') return false
  throw new Error('must be on or off')
}

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** A duration such as `500ms`, `30s`, `15m`, `1h`, `7d`, in whole milliseconds between `min` and `max`. */
export function duration(min: string, max: string): Parse<number> {
  const least = durationMs(min)
  const most = durationMs(max)
  return function parseDuration(value) {
    const ms = durationMs(value)
    if (ms < least || ms > most) throw new Error(`must be from ${min} to ${max}`)
    return ms
  }
}

/** As `duration`, in milliseconds, where only whole seconds can be sent on: `1500ms` is refused, `2000ms` is not. */
export function wholeSeconds(min: string, max: string): Parse<number> {
  const parse = duration(min, max)
  return function parseSeconds(value) {
    const ms = parse(value)
    if (ms % 1000 !== 0) throw new Error('must be whole seconds')
    return ms
  }
}

function durationMs(value: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(value)
  const unit = MS_PER_UNIT[match?.[2] ?? '']
  if (match === null || unit === undefined) {
    throw new Error('must be a duration such as 500ms, 30s, 15m, 1h or 7d')
  }
  return Math.round(Number(match[1]) * unit)
}

const BYTES_PER_UNIT: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}

/** A size such as `512MiB`, `10GiB`, `10GB` or a plain number of bytes, of at least `min` bytes. */
export function size(min = 0): Parse<number> {
  return function parseSize(value) {
    const match = /^(\d{1,15}(?:\.\d{1,6})?)([kKMGT]i?B|B)?$/.exec(value)
    const unit = BYTES_PER_UNIT[match?.[2] ?? 'B']
    if (match === null || unit === undefined) {
      throw new Error('must be a size such as 512MiB, 10GiB, 10GB or a number of bytes')
    }
    const bytes = Math.round(Number(match[1]) * unit)
    if (!Number.isSafeInteger(bytes)) throw new Error('must be below 8192TiB')
    if (bytes < min) throw new Error(`must be at least ${min} bytes`)
    return bytes
  }
}

/** A whole number between `min` and `max`. */
export function integer(min: number, max: number): Parse<number> {
  return function parseInteger(value) {
    const number = Number(value)
    if (!/^-?\d{1,16}$/.test(value) || number < min || number > max) {
      throw new Error(`must be a whole number from ${min} to ${max}`)
    }
    return number
  }
}

/** A number above 0, up to `max`. */
export function rate(max: number): Parse<number> {
  return function parseRate(value) {
    const number = Number(value)
    if (!/^\d{1,16}(?:\.\d{1,6})?$/.test(value) || number <= 0 || number > max) {
      throw new Error(`must be a number above 0 and at most ${max}`)
    }
    return number
  }
}

export function choice<const T extends string>(...allowed: readonly T[]): Parse<T> {
  return function parseChoice(value) {
    const found = allowed.find((item) => item === value)
    if (found === undefined) throw new Error(`must be one of ${allowed.join(', ')}`)
    return found
  }
}

/** An absolute URL of one of `schemes`, without a trailing slash. */
export function url(...schemes: readonly string[]): Parse<string> {
  return function parseUrl(value) {
    const wanted = `must be a URL that starts with ${schemes.map((name) => `${name}://`).join(' or ')}`
    const parsed = URL.parse(value)
    if (parsed === null || !schemes.includes(parsed.protocol.slice(0, -1))) throw new Error(wanted)
    if (parsed.hostname === '') throw new Error(wanted)
    return value.replace(/\/+$/, '')
  }
}

/** What a schema of the protocol accepts. */
export function matching<T>(schema: z.ZodType<T>): Parse<T> {
  return function parseMatching(value) {
    const parsed = schema.safeParse(value, { error: wordIssue })
    if (!parsed.success) throw new Error(parsed.error.issues[0]?.message ?? 'is not valid')
    return parsed.data
  }
}
