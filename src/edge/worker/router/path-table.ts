/** The routes of one host: exact paths in a hash map, prefixes and patterns by what they begin with. */

import type { Pattern } from '../../../protocol/pattern.ts'
import { betterOf, type Candidate, withCandidate } from './candidate.ts'
import { PrefixIndex } from './prefix-index.ts'

export class PathTable {
  #exact: Map<string, Candidate> | null = null
  #others: PrefixIndex | null = null
  #bestRank = Infinity

  /** The smallest rank in it. */
  get bestRank(): number {
    return this.#bestRank
  }

  addExact(path: string, candidate: Candidate): void {
    this.#bestRank = Math.min(this.#bestRank, candidate.rank)
    this.#exact ??= new Map()
    this.#exact.set(path, withCandidate(this.#exact.get(path) ?? null, candidate))
  }

  addPrefix(path: string, candidate: Candidate): void {
    this.#bestRank = Math.min(this.#bestRank, candidate.rank)
    this.#others ??= new PrefixIndex()
    this.#others.addPrefix(path, candidate)
  }

  /** A pattern that stands for one path only is kept as that path. */
  addPattern(pattern: Pattern, candidate: Candidate): void {
    if (pattern.isLiteral) return this.addExact(pattern.literal, candidate)
    this.#bestRank = Math.min(this.#bestRank, candidate.rank)
    this.#others ??= new PrefixIndex()
    this.#others.addPattern(pattern, candidate)
  }

  /** To be called once, when all are added. */
  sort(): void {
    this.#others?.sort()
  }

  /** The best of `best` and what matches here and takes a method of `bits`. */
  find(path: string, bits: number, best: Candidate | null): Candidate | null {
    const exact = this.#exact?.get(path)
    const found = exact === undefined ? best : betterOf(best, exact, bits)
    const others = this.#others
    if (others === null || (found !== null && found.rank < others.bestRank)) return found
    return others.find(path, bits, found)
  }
}

/** Looks only into a table that may have something better than `best`. */
export function findIn(
  table: PathTable,
  path: string,
  bits: number,
  best: Candidate | null,
): Candidate | null {
  return best !== null && best.rank < table.bestRank ? best : table.find(path, bits, best)
}
