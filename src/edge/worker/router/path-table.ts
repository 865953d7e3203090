/** The routes of one host: exact paths in a hash map, prefixes in a trie of segments, patterns in a list. */

import type { Pattern } from '../../../protocol/pattern.ts'
import { addCandidate, type Candidate, firstFor } from './candidate.ts'

interface PrefixNode {
  readonly children: Map<string, PrefixNode>
  /** Routes of the prefix that ends with this segment: `/api`. */
  readonly here: Candidate[]
  /** Routes of the prefix that ends with the slash after it: `/api/`, which `/api` itself does not match. */
  readonly below: Candidate[]
}

interface PatternRoute {
  readonly pattern: Pattern
  readonly candidate: Candidate
}

const newNode = (): PrefixNode => ({ children: new Map(), here: [], below: [] })

export class PathTable {
  readonly #exact = new Map<string, Candidate[]>()
  readonly #prefixes = newNode()
  readonly #patterns: PatternRoute[] = []

  /** Candidates must be added in order of ordinals. `pattern` is the compiled path of a regex route. */
  add(candidate: Candidate, path: string, pattern: Pattern | null): void {
    if (pattern !== null) {
      this.#patterns.push({ pattern, candidate })
      return
    }
    if (candidate.route.path_type === 'prefix') {
      addCandidate(this.#prefixList(path), candidate)
      return
    }
    const list = this.#exact.get(path)
    if (list === undefined) this.#exact.set(path, [candidate])
    else addCandidate(list, candidate)
  }

  /** The best of `best` and what matches here; `bit` is the request's method. */
  find(path: string, bit: number, best: Candidate | null): Candidate | null {
    let found = better(best, firstFor(this.#exact.get(path), bit))
    this.#walkPrefixes(path, (list) => {
      found = better(found, firstFor(list, bit))
    })
    for (const { pattern, candidate } of this.#patterns) {
      if (found !== null && candidate.ordinal > found.ordinal) break
      if ((candidate.methods & bit) !== 0 && pattern.test(path)) return candidate
    }
    return found
  }

  /** Bits of the methods that any route matching `path` takes. */
  methodsAt(path: string): number {
    let bits = 0
    const collect = (list: readonly Candidate[]) => {
      for (const candidate of list) bits |= candidate.methods
    }
    collect(this.#exact.get(path) ?? [])
    this.#walkPrefixes(path, collect)
    for (const { pattern, candidate } of this.#patterns) {
      if ((candidate.methods & ~bits) !== 0 && pattern.test(path)) bits |= candidate.methods
    }
    return bits
  }

  #prefixList(path: string): Candidate[] {
    if (path === '/') return this.#prefixes.below
    const segments = path.slice(1).split('/')
    const endsBelow = segments.at(-1) === ''
    if (endsBelow) segments.pop()
    let node = this.#prefixes
    for (const segment of segments) {
      let child = node.children.get(segment)
      if (child === undefined) {
        child = newNode()
        node.children.set(segment, child)
      }
      node = child
    }
    return endsBelow ? node.below : node.here
  }

  /** Visits the routes of every prefix of `path`; stops where the trie ends, so cost is bound by the longest prefix. */
  #walkPrefixes(path: string, visit: (list: readonly Candidate[]) => void): void {
    let node = this.#prefixes
    visit(node.below)
    for (let at = 1; node.children.size > 0;) {
      const slash = path.indexOf('/', at)
      const child = node.children.get(slash < 0 ? path.slice(at) : path.slice(at, slash))
      if (child === undefined) return
      visit(child.here)
      if (slash < 0) return
      visit(child.below)
      node = child
      at = slash + 1
    }
  }
}

function better(a: Candidate | null, b: Candidate | null): Candidate | null {
  if (a === null || b === null) return a ?? b
  return a.ordinal <= b.ordinal ? a : b
}
