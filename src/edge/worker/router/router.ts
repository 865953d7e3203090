/** Host, path and method → route: an immutable table, built whole from a list of routes [R4.1 R9.2 P5 P20]. */

import { EdgefnError, toEdgefnError } from '../../../errors.ts'
import type { Method, Route } from '../../../protocol/manifest.ts'
import { compilePattern, type Pattern } from '../../../protocol/pattern.ts'
import { type Candidate, methodBit, methodBits, methodsOf } from './candidate.ts'
import { compareRoutes } from './order.ts'
import { PathTable } from './path-table.ts'

export type Match =
  | { readonly kind: 'found'; readonly route: Route }
  /** Routes match host and path, none of them this method; `allow` is what they take. */
  | { readonly kind: 'other_method'; readonly allow: readonly Method[] }
  | { readonly kind: 'none' }

/** A route that is not in the table because it cannot be matched. */
export interface RejectedRoute {
  readonly route: Route
  readonly error: EdgefnError
}

export interface Router {
  /** `host` without port, in lower case, no trailing dot; `path` without query, starting with a slash. */
  match(host: string, path: string, method: string): Match
  readonly rejected: readonly RejectedRoute[]
}

const NONE: Match = { kind: 'none' }

/**
 * Builds a table. A route with a bad path is left out and named in `rejected`, so that one of them cannot take the
 * others out of service. Of routes that differ in nothing but their id the older one is taken.
 */
export function buildRouter(routes: readonly Route[]): Router {
  const hosts = new Map<string, PathTable>()
  const wildcards = new Map<string, PathTable>()
  const anyHost = new PathTable()
  const rejected: RejectedRoute[] = []

  function tableFor(host: string): PathTable {
    if (host === '*') return anyHost
    const tables = host.startsWith('*.') ? wildcards : hosts
    const name = host.startsWith('*.') ? host.slice(2) : host
    const table = tables.get(name) ?? new PathTable()
    tables.set(name, table)
    return table
  }

  let ordinal = 0
  for (const route of [...routes].sort(compareRoutes)) {
    try {
      const pattern = patternOf(route)
      const candidate = { route, ordinal, methods: methodBits(route.methods) }
      tableFor(route.host).add(candidate, asciiPath(route.path), pattern)
      ordinal += 1
    } catch (thrown) {
      rejected.push({ route, error: toEdgefnError(thrown) })
    }
  }

  /** The tables of an exact host, of every wildcard above it, and of any host. */
  function tablesFor(host: string): PathTable[] {
    const tables = [anyHost]
    const exact = hosts.get(host)
    if (exact !== undefined) tables.push(exact)
    if (wildcards.size === 0) return tables
    for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) {
      const above = dot === 0 ? undefined : wildcards.get(host.slice(dot + 1))
      if (above !== undefined) tables.push(above)
    }
    return tables
  }

  function match(host: string, path: string, method: string): Match {
    const bit = methodBit(method)
    const tables = tablesFor(host)
    let best: Candidate | null = null
    for (const table of tables) best = table.find(path, bit, best)
    if (best !== null) return { kind: 'found', route: best.route }
    const bits = tables.reduce((all, table) => all | table.methodsAt(path), 0)
    return bits === 0 ? NONE : { kind: 'other_method', allow: methodsOf(bits) }
  }

  return { match, rejected }
}

function patternOf(route: Route): Pattern | null {
  if (route.path_type === 'regex') return compilePattern(route.path)
  if (route.path.startsWith('/')) return null
  throw new EdgefnError('invalid_field', `The path must start with / and is ${route.path}.`)
}

/** Paths arrive percent-encoded, so a route written with other characters must be as well. */
function asciiPath(path: string): string {
  return path.replace(/[^\x21-\x7e]+/g, (characters) => encodeURIComponent(characters))
}
