/** The one order of routes: which of two that match the same request is taken [R9.2 P20]. */

import { LIMITS } from '../../../protocol/limits.ts'
import type { Route } from '../../../protocol/manifest.ts'

/** The highest priority that a route can have (`routeSchema`). */
const PRIORITY_MAX = 1_000_000
/** Numbers that a host and a path can be given below; all three together fit a double (52 bits). */
const HOST_RANKS = 512
const PATH_RANKS = 1024
const ANY_HOST = HOST_RANKS - 1
const REGEX = PATH_RANKS - 1

/** How specific a host is: an exact name, then the longest wildcard, then any host. */
function hostRank(host: string): number {
  if (host === '*') return ANY_HOST
  return host.startsWith('*.') ? 1 + LIMITS.routeHostCharsMax - host.length : 0
}

/** How specific a path is: an exact one, then the longest prefix, then patterns. */
function pathRank(route: Route): number {
  if (route.path_type === 'regex') return REGEX
  return route.path_type === 'prefix' ? 1 + LIMITS.routePathCharsMax - route.path.length : 0
}

/**
 * The smaller it is the earlier a route is taken: higher priority; then exact host, longer wildcard, any host; then exact
 * path, longer prefix, pattern. A number, so that a table needs no sorting as a whole; who goes first of two with the same is said in
 * `candidate.ts`.
 */
export function rankOf(route: Route): number {
  const host = (PRIORITY_MAX - route.priority) * HOST_RANKS + hostRank(route.host)
  return host * PATH_RANKS + pathRank(route)
}
