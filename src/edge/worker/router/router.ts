/** Host, path and method → route: an immutable table, built whole from a list of routes [R4.1 R9.2 P5 P20]. */

import { EdgefnError, toEdgefnError } from '../../../errors.ts'
import { HTTP_METHODS } from '../../../protocol/http-methods.ts'
import type { Method, Route } from '../../../protocol/manifest.ts'
import { compilePattern, type Matchers } from '../../../protocol/pattern.ts'
import { type Candidate, candidateOf, EVERY_METHOD, type Found, methodBit } from './candidate.ts'
import { findIn, PathTable } from './path-table.ts'
import { Wildcards } from './wildcards.ts'

export type Match =
  | Found
  /** Routes match host and path, none of them this method; `allow` is what they take. */
  | { readonly kind: 'other_method'; readonly allow: readonly Method[] }
  | { readonly kind: 'none' }

/** A route that is not in the table because it cannot be matched. */
export interface RejectedRoute {
  readonly route: Route
  readonly error: EdgefnError
}

export interface Router {
  /**
   * `host` without port, in lower case, no trailing dot; `path` without query, starting with a slash. What is found was made
   * with the table: a look-up allocates nothing.
   */
  match(host: string, path: string, method: string): Match
  readonly rejected: readonly RejectedRoute[]
}

const NONE: Match = { kind: 'none' }

/** A whole table at once; `RouterBuilder` takes the routes in parts. */
export function buildRouter(routes: readonly Route[]): Router {
  const builder = new RouterBuilder()
  for (const route of routes) builder.add(route)
  return builder.finish()
}

/**
 * Builds a table, in whatever order the routes come. A route with a bad path is left out and named in `rejected`, so that
 * one of them cannot take the others out of service. Of routes that differ in nothing but their id the older one is taken.
 */
export class RouterBuilder {
  readonly #hosts = new Map<string, PathTable>()
  readonly #wildcards = new Wildcards()
  readonly #anyHost = new PathTable()
  readonly #rejected: RejectedRoute[] = []
  readonly #matchers: Matchers = new Map()

  add(route: Route): void {
    try {
      this.#addValid(route)
    } catch (thrown) {
      this.#rejected.push({ route, error: toEdgefnError(thrown) })
    }
  }

  /** The table of what was added. The builder is of no more use. */
  finish(): Router {
    for (const table of this.#hosts.values()) table.sort()
    this.#wildcards.sort()
    this.#anyHost.sort()
    return new HostRouter(this.#hosts, this.#wildcards, this.#anyHost, this.#rejected)
  }

  #addValid(route: Route): void {
    const { path, path_type: type } = route
    if (type === 'regex') {
      const pattern = compilePattern(path, this.#matchers)
      return this.#table(route.host).addPattern(pattern, candidateOf(route))
    }
    if (!path.startsWith('/')) {
      throw new EdgefnError('invalid_field', `The path must start with / and is ${path}.`)
    }
    const table = this.#table(route.host)
    if (type === 'exact') table.addExact(asciiPath(path), candidateOf(route))
    else table.addPrefix(asciiPath(path), candidateOf(route))
  }

  #table(host: string): PathTable {
    if (host === '*') return this.#anyHost
    if (host.startsWith('*.')) return this.#wildcards.table(host.slice(2))
    let table = this.#hosts.get(host)
    if (table === undefined) {
      table = new PathTable()
      this.#hosts.set(host, table)
    }
    return table
  }
}

class HostRouter implements Router {
  readonly rejected: readonly RejectedRoute[]
  readonly #hosts: ReadonlyMap<string, PathTable>
  readonly #wildcards: Wildcards
  readonly #anyHost: PathTable

  constructor(
    hosts: ReadonlyMap<string, PathTable>,
    wildcards: Wildcards,
    anyHost: PathTable,
    rejected: readonly RejectedRoute[],
  ) {
    this.#hosts = hosts
    this.#wildcards = wildcards
    this.#anyHost = anyHost
    this.rejected = rejected
  }

  match(host: string, path: string, method: string): Match {
    return this.#find(host, path, methodBit(method))?.found ?? this.#refusal(host, path)
  }

  #find(host: string, path: string, bits: number): Candidate | null {
    const own = this.#hosts.get(host)
    const found = own === undefined ? null : own.find(path, bits, null)
    return findIn(this.#anyHost, path, bits, this.#wildcards.find(host, path, bits, found))
  }

  #refusal(host: string, path: string): Match {
    if (this.#find(host, path, EVERY_METHOD) === null) return NONE
    const taken = (method: Method) => this.#find(host, path, methodBit(method)) !== null
    return { kind: 'other_method', allow: HTTP_METHODS.filter(taken) }
  }
}

/** Paths arrive percent-encoded, so a route written with other characters must be as well. */
function asciiPath(path: string): string {
  return path.replace(/[^\x21-\x7e]+/g, (characters) => encodeURIComponent(characters))
}
