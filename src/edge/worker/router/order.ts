/** The one order of routes: which of two that match the same request is taken [R9.2 P20]. */

import type { Route } from '../../../protocol/manifest.ts'

const PATH_RANK = { exact: 0, prefix: 1, regex: 2 } as const

/** How specific a host is: an exact name before the longest wildcard before any host. */
function hostRank(host: string): number {
  if (host === '*') return 2
  return host.startsWith('*.') ? 1 : 0
}

/**
 * Negative when `a` is taken before `b`: higher priority; then exact host, longer wildcard, any host; then exact path,
 * longer prefix, regex; then the older route (ids are UUIDv7). Total, so the choice never depends on order of arrival.
 */
export function compareRoutes(a: Route, b: Route): number {
  if (a.priority !== b.priority) return b.priority - a.priority
  const hosts = hostRank(a.host) - hostRank(b.host)
  if (hosts !== 0) return hosts
  if (a.host.length !== b.host.length && hostRank(a.host) === 1) {
    return b.host.length - a.host.length
  }
  const types = PATH_RANK[a.path_type] - PATH_RANK[b.path_type]
  if (types !== 0) return types
  if (a.path_type === 'prefix' && a.path.length !== b.path.length) {
    return b.path.length - a.path.length
  }
  return a.route_id < b.route_id ? -1 : a.route_id > b.route_id ? 1 : 0
}
