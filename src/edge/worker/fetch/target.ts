/**
 * Where a fetch goes: a URL of a guest or of a redirect, taken apart strictly. What two parsers could read in two ways is
 * refused, so that what was checked is what is connected to (RELIABILITY promise 10).
 */

import { canonicalHost, defaultPort, isAddress } from '../../../protocol/http-allow.ts'
import type { Destination } from '../../../protocol/http-allow.ts'
import { LIMITS } from '../../../protocol/limits.ts'

export interface FetchTarget extends Destination {
  /** Whether `host` is an address and nothing is to be looked up. */
  readonly literal: boolean
  /** Path and query, as the request line has them. */
  readonly path: string
  /** The whole URL without fragment; redirects are resolved against it. */
  readonly url: string
}

/** Scheme, authority, rest; in visible ASCII alone: no space, control character or letter that a parser might fold. */
const FORM = /^(https?):\/\/([^/?#\\]+)((?:[/?#][!-[\]-~]*)?)$/i
const AUTHORITY = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?$/i

/**
 * Takes a URL apart; null when it is none that may be fetched: another scheme, userinfo, an address written as a number or
 * in octal, an IPv6 zone, percent-escapes or characters beyond ASCII in the host (names in other scripts come as `xn--`).
 */
export function parseTarget(text: string): FetchTarget | null {
  if (text.length > LIMITS.fetchUrlBytesMax) return null
  const form = FORM.exec(text)
  const authority = AUTHORITY.exec(form?.[2] ?? '')
  if (form === null || authority === null) return null
  const scheme = form[1]?.toLowerCase() === 'https' ? 'https' : 'http'
  const host = canonicalHost((authority[1] ?? '').toLowerCase())
  const port = authority[2] === undefined ? defaultPort(scheme) : Number(authority[2])
  const parsed = URL.parse(text)
  if (host === null || port === 0 || port > 65_535 || parsed === null) return null
  const { hostname, pathname, search } = parsed
  // The standard's parser has the last word on where the host ends; it must have read the same.
  const same = hostname === (host.includes(':') ? `[${host}]` : host)
  if (!same || parsed.username !== '' || parsed.password !== '') return null
  if (parsed.protocol !== `${scheme}:` || Number(parsed.port || defaultPort(scheme)) !== port) {
    return null
  }
  const path = `${pathname}${search}`
  const target = { scheme, host, port, literal: isAddress(host), path } as const
  return { ...target, url: `${originOf(target)}${path}` }
}

/** Host and, where it is not the scheme's, port: what a `Host` field says. */
export function authorityOf({ scheme, host, port }: Destination): string {
  const name = host.includes(':') ? `[${host}]` : host
  return port === defaultPort(scheme) ? name : `${name}:${port}`
}

export function originOf(to: Destination): string {
  return `${to.scheme}://${authorityOf(to)}`
}

/**
 * The target of a `Location` field, resolved as browsers do, and then held to the same rules as a guest's own URL. Null
 * when it leads nowhere one may go.
 */
export function redirectTarget(location: string, from: FetchTarget): FetchTarget | null {
  const resolved = URL.parse(location, from.url)
  if (resolved === null) return null
  resolved.hash = ''
  return parseTarget(resolved.href)
}
