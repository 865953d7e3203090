/** Which addresses a fetch may connect to: public unicast ones, and what the operator of the node allows besides. */

import { isIP } from 'node:net'

import ipaddr from 'ipaddr.js'

/** Says why an address must not be connected to; null when it may be. */
export type AddressPolicy = (address: string) => string | null

/** A range of addresses in CIDR notation, read. */
export type AddressRange = readonly [ipaddr.IPv4 | ipaddr.IPv6, number]

/**
 * What the registries of special-purpose addresses (RFC 6890 and after it) and clouds add to the ranges that ipaddr.js
 * knows. Where both name one, neither depends on the other.
 */
const FORBIDDEN = [
  ['0.0.0.0/8', 'unspecified'],
  ['10.0.0.0/8', 'private'],
  ['100.64.0.0/10', 'carrier-grade NAT'],
  ['127.0.0.0/8', 'loopback'],
  ['168.63.129.16/32', 'cloud metadata'],
  ['169.254.0.0/16', 'link-local'],
  ['172.16.0.0/12', 'private'],
  ['192.0.0.0/24', 'protocol assignments'],
  ['192.0.2.0/24', 'documentation'],
  ['192.31.196.0/24', 'AS112'],
  ['192.52.193.0/24', 'AMT'],
  ['192.88.99.0/24', '6to4 relay'],
  ['192.168.0.0/16', 'private'],
  ['192.175.48.0/24', 'AS112'],
  ['198.18.0.0/15', 'benchmarking'],
  ['198.51.100.0/24', 'documentation'],
  ['203.0.113.0/24', 'documentation'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
  ['2001::/23', 'protocol assignments'],
  ['2001:db8::/32', 'documentation'],
  ['2002::/16', '6to4'],
  ['2620:4f:8000::/48', 'AS112'],
  ['3fff::/20', 'documentation'],
].map(([cidr = '', name = '']) => ({ range: parseRange(cidr), name }))

/** All that is global unicast in IPv6; loopback, mapped, NAT64, unique local, link-local and multicast lie outside. */
const GLOBAL_IPV6 = parseRange('2000::/3')

/** Reads CIDR notation, or one address as a range of its own. Throws an Error that says what it wants. */
export function parseRange(text: string): AddressRange {
  try {
    if (!text.includes('/')) {
      const address = ipaddr.parse(text)
      return [address, address.kind() === 'ipv4' ? 32 : 128]
    }
    return ipaddr.parseCIDR(text)
  } catch {
    throw new Error('must be an address range such as 10.0.0.0/8 or fd00::/8')
  }
}

function contains([base, bits]: AddressRange, address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  // Ranges of the other family never match; ipaddr.js throws for those.
  if (address instanceof ipaddr.IPv4)
    return base instanceof ipaddr.IPv4 && address.match(base, bits)
  return base instanceof ipaddr.IPv6 && address.match(base, bits)
}

/**
 * The policy of a node. `allowed` are the ranges that its operator opens besides public addresses; `own` are the node's own
 * addresses at the time of the check, which may be public and still reach what only listens for the node itself.
 */
export function createAddressPolicy(
  allowed: readonly AddressRange[],
  own: () => readonly string[],
): AddressPolicy {
  return function forbidden(text) {
    // isIP knows one notation per address; ipaddr.js would read `127.1` and `0x7f000001` too, and zones.
    if (isIP(text) === 0 || text.includes('%')) return 'not an address'
    const address = ipaddr.parse(text)
    if (allowed.some((range) => contains(range, address))) return null
    const special = FORBIDDEN.find(({ range }) => contains(range, address))
    if (special !== undefined) return special.name
    if (address instanceof ipaddr.IPv6 && !contains(GLOBAL_IPV6, address)) {
      return address.isIPv4MappedAddress() ? 'IPv4-mapped' : address.range()
    }
    if (address.range() !== 'unicast') return address.range()
    const isOwn = own().some(
      (each) => ipaddr.isValid(each) && ipaddr.parse(each).toString() === address.toString(),
    )
    return isOwn ? 'an address of the node itself' : null
  }
}
