/**
 * The allow-list of `http_fetch`: which hosts a function version may reach, a pattern each. Without a pattern nothing may be
 * reached (SPEC 4, RELIABILITY finding 9).
 */

/** Where a request goes, as far as an allow-list decides about it. */
export interface Destination {
  readonly scheme: 'http' | 'https'
  /** In canonical form: lower case, IPv6 without brackets, addresses as the URL standard writes them. */
  readonly host: string
  readonly port: number
}

interface Pattern {
  /** Null takes both. */
  readonly scheme: Destination['scheme'] | null
  /** What the host is, or, for a wildcard, ends with: `.example.com`. */
  readonly host: string
  readonly wildcard: boolean
  /** Null takes the port that belongs to the scheme. */
  readonly port: number | null
}

const FORM = /^(?:(https?):\/\/)?(\*\.)?(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?$/
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/

/** The port of a scheme where none is written. */
export function defaultPort(scheme: Destination['scheme']): number {
  return scheme === 'https' ? 443 : 80
}

/**
 * A host as the URL standard writes it, without brackets, or null when it is none or is not written that way: `2130706433`,
 * `0x7f.1` and `127.1` are addresses in disguise, `[::0001]` is `::1`, a trailing dot is another name of the same host.
 */
export function canonicalHost(host: string): string | null {
  const bracketed = host.startsWith('[')
  if (!bracketed && (host.length > 253 || !host.split('.').every((label) => LABEL.test(label)))) {
    return null
  }
  const parsed = URL.parse(`http://${host}/`)
  if (parsed === null || (!bracketed && parsed.hostname !== host)) return null
  return bracketed ? parsed.hostname.slice(1, -1) : parsed.hostname
}

/** Whether a canonical host is an address. */
export function isAddress(host: string): boolean {
  return host.includes(':') || /^\d+\.\d+\.\d+\.\d+$/.test(host)
}

/** Null when `text` is not a pattern. */
function parsePattern(text: string): Pattern | null {
  const match = FORM.exec(text)
  if (match === null) return null
  const [, scheme, star, name = '', digits] = match
  const host = canonicalHost(name)
  const port = digits === undefined ? null : Number(digits)
  if (host === null || port === 0 || (port !== null && port > 65_535)) return null
  const wildcard = star !== undefined
  // `*.com` would be half of the Internet by a slip of the pen.
  if (wildcard && (isAddress(host) || !host.includes('.'))) return null
  return {
    scheme: scheme === undefined ? null : (scheme as Destination['scheme']),
    host: wildcard ? `.${host}` : host,
    wildcard,
    port,
  }
}

/** Whether a text is a pattern. */
export function isPattern(text: string): boolean {
  return parsePattern(text) !== null
}

/** Whether one of the patterns takes the destination. A text that is no pattern takes nothing. */
export function isAllowed(patterns: readonly string[], to: Destination): boolean {
  return patterns.some((text) => {
    const pattern = parsePattern(text)
    if (pattern === null) return false
    if (pattern.scheme !== null && pattern.scheme !== to.scheme) return false
    if (to.port !== (pattern.port ?? defaultPort(to.scheme))) return false
    if (!pattern.wildcard) return to.host === pattern.host
    return !isAddress(to.host) && to.host.endsWith(pattern.host)
  })
}
