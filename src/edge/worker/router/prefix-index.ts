/**
 * The prefixes and patterns of one host, found by the text that comes before each slash of a path. One pass over the path
 * hashes it as it goes and looks at each slash what begins there, so a look-up takes as long for one route as for
 * 100 000, cuts nothing out of the path and allocates nothing.
 */

import type { Pattern } from '../../../protocol/pattern.ts'
import { betterOf, type Candidate, precedes, withCandidate } from './candidate.ts'
import { FNV_PRIME, hashSeed } from './hash.ts'

interface PatternRoute {
  readonly pattern: Pattern
  readonly candidate: Candidate
}

/** What begins with a text that ends before a slash: `/api`; the empty one is that of the first slash. */
interface Border {
  readonly text: string
  /** Routes of the prefix `/api`. */
  here: Candidate | null
  /** Routes of the prefix `/api/`, which `/api` itself does not match. */
  below: Candidate | null
  /** Those whose every match begins with `/api/`; once sorted, the first that matches is the best. */
  patterns: PatternRoute[] | null
  /** Another text with the same hash. */
  next: Border | null
}

const SLASH = 47

const newBorder = (text: string): Border => ({
  text,
  here: null,
  below: null,
  patterns: null,
  next: null,
})

export class PrefixIndex {
  readonly #root = newBorder('')
  #borders: Map<number, Border> | null = null
  #withPatterns: Border[] | null = null
  #textCharsMax = 0
  #bestRank = Infinity

  /** The smallest rank in it. */
  get bestRank(): number {
    return this.#bestRank
  }

  addPrefix(path: string, candidate: Candidate): void {
    this.#bestRank = Math.min(this.#bestRank, candidate.rank)
    const endsBelow = path.endsWith('/')
    const border = this.#border(endsBelow ? path.slice(0, -1) : path)
    if (endsBelow) border.below = withCandidate(border.below, candidate)
    else border.here = withCandidate(border.here, candidate)
  }

  addPattern(pattern: Pattern, candidate: Candidate): void {
    this.#bestRank = Math.min(this.#bestRank, candidate.rank)
    const slash = pattern.literal.lastIndexOf('/')
    const border = slash < 0 ? this.#root : this.#border(pattern.literal.slice(0, slash))
    if (border.patterns === null) {
      border.patterns = []
      this.#withPatterns ??= []
      this.#withPatterns.push(border)
    }
    border.patterns.push({ pattern, candidate })
  }

  /** To be called once, when all are added. */
  sort(): void {
    for (const { patterns } of this.#withPatterns ?? []) {
      patterns?.sort((a, b) => (precedes(a.candidate, b.candidate) ? -1 : 1))
    }
  }

  /** The best of `best` and what matches here and takes a method of `bits`. */
  find(path: string, bits: number, best: Candidate | null): Candidate | null {
    let found = below(this.#root, path, bits, best)
    const last = Math.min(path.length, this.#textCharsMax)
    let hash = hashSeed
    for (let at = 0; at <= last; at += 1) {
      const ends = at === path.length
      const character = ends ? SLASH : path.charCodeAt(at)
      if (character === SLASH && at > 0) {
        const border = this.#at(hash, path, at)
        if (border !== null) {
          found = betterOf(found, border.here, bits)
          if (!ends) found = below(border, path, bits, found)
        }
      }
      hash = Math.imul(hash ^ character, FNV_PRIME)
    }
    return found
  }

  /** What begins with the first `length` characters of a path, whose hash is given. */
  #at(hash: number, path: string, length: number): Border | null {
    let border = this.#borders?.get(hash) ?? null
    while (border !== null) {
      if (border.text.length === length && path.startsWith(border.text)) return border
      border = border.next
    }
    return null
  }

  #border(text: string): Border {
    if (text === '') return this.#root
    let hash = hashSeed
    for (let at = 0; at < text.length; at += 1) {
      hash = Math.imul(hash ^ text.charCodeAt(at), FNV_PRIME)
    }
    const known = this.#at(hash, text, text.length)
    if (known !== null) return known
    const border = newBorder(text)
    this.#borders ??= new Map()
    border.next = this.#borders.get(hash) ?? null
    this.#borders.set(hash, border)
    this.#textCharsMax = Math.max(this.#textCharsMax, text.length)
    return border
  }
}

/** The best of `best` and what of a border takes paths that go on with a slash. */
function below(
  border: Border,
  path: string,
  bits: number,
  best: Candidate | null,
): Candidate | null {
  const found = betterOf(best, border.below, bits)
  if (border.patterns === null) return found
  for (const { pattern, candidate } of border.patterns) {
    if (found !== null && precedes(found, candidate)) break
    if ((candidate.methods & bits) !== 0 && pattern.test(path)) return candidate
  }
  return found
}
