/** The Host field: exactly one strict `host[:port]`, or the request is refused (RELIABILITY finding 10). */

import { isIPv6 } from 'node:net'

import { EdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'

const HOST =
  /^((?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*)\.?(?::(\d{1,5}))?$/
const IPV6_HOST = /^(\[[0-9a-f:.]{2,45}\])(?::(\d{1,5}))?$/
/** Characters of the longest name, its trailing dot, and `:65535`. */
const hostFieldCharsMax = LIMITS.routeHostCharsMax + 7
/** Fields that `HostNames` remembers at a time. */
const hostNamesMax = 4096

/**
 * The host name as routes spell it: lower case, no port, no trailing dot; IPv6 in brackets. Two Host fields arrive
 * joined by a comma, which no host has. Throws `bad_request` for anything else.
 */
export function hostName(field: string | undefined): string {
  if (field === undefined || field === '') throw refused('The request has no Host.')
  if (field.length > hostFieldCharsMax) throw refused('The Host is too long.')
  const text = field.toLowerCase()
  const found = text.startsWith('[') ? IPV6_HOST.exec(text) : HOST.exec(text)
  const name = found?.[1]
  if (name === undefined || Number(found?.[2] ?? 0) > 65_535) throw refused()
  if (name.startsWith('[') && !isIPv6(name.slice(1, -1))) throw refused()
  return name
}

/** Fields that were understood before are, as a rule, those that come again. */
export class HostNames {
  #known = new Map<string, string>()

  /** As `hostName`. */
  of(field: string | undefined): string {
    const known = field === undefined ? undefined : this.#known.get(field)
    if (known !== undefined) return known
    const name = hostName(field)
    // Clients may send any name: when there are too many, the useful ones are soon there again.
    if (this.#known.size >= hostNamesMax) this.#known = new Map()
    if (field !== undefined) this.#known.set(field, name)
    return name
  }
}

function refused(message = 'The Host must be one host name or address with an optional port.') {
  return new EdgefnError('bad_request', message)
}
