/** The tables of `*.example.com`, found by the name that comes after each dot of a host: one pass from its end, which hashes as it goes. */

import type { Candidate } from './candidate.ts'
import { FNV_PRIME, hashSeed } from './hash.ts'
import { findIn, PathTable } from './path-table.ts'

interface Wildcard {
  readonly name: string
  readonly table: PathTable
  /** Another name with the same hash. */
  readonly next: Wildcard | null
}

const DOT = 46

export class Wildcards {
  readonly #names = new Map<number, Wildcard>()
  readonly #tables: PathTable[] = []
  #nameCharsMax = 0
  #bestRank = Infinity

  /** The table of hosts below `name`, made when it is missing. */
  table(name: string): PathTable {
    let hash = hashSeed
    for (let at = name.length - 1; at >= 0; at -= 1) {
      hash = Math.imul(hash ^ name.charCodeAt(at), FNV_PRIME)
    }
    const known = this.#at(hash, name, name.length)
    if (known !== null) return known
    const table = new PathTable()
    this.#names.set(hash, { name, table, next: this.#names.get(hash) ?? null })
    this.#tables.push(table)
    this.#nameCharsMax = Math.max(this.#nameCharsMax, name.length)
    return table
  }

  /** To be called once, when all are added. */
  sort(): void {
    for (const table of this.#tables) {
      table.sort()
      this.#bestRank = Math.min(this.#bestRank, table.bestRank)
    }
  }

  /** The best of `best` and what every wildcard above the host has that takes a method of `bits`. */
  find(host: string, path: string, bits: number, best: Candidate | null): Candidate | null {
    if (this.#tables.length === 0 || (best !== null && best.rank < this.#bestRank)) return best
    let found = best
    let hash = hashSeed
    // A name is below a wildcard when something comes before the dot.
    const first = Math.max(host.length - this.#nameCharsMax - 1, 1)
    for (let at = host.length - 1; at >= first; at -= 1) {
      const character = host.charCodeAt(at)
      if (character === DOT) {
        const table = this.#at(hash, host, host.length - 1 - at)
        if (table !== null) found = findIn(table, path, bits, found)
      }
      hash = Math.imul(hash ^ character, FNV_PRIME)
    }
    return found
  }

  /** The table of the last `length` characters of a host, whose hash is given. */
  #at(hash: number, host: string, length: number): PathTable | null {
    let wildcard = this.#names.get(hash) ?? null
    while (wildcard !== null) {
      if (wildcard.name.length === length && host.endsWith(wildcard.name)) return wildcard.table
      wildcard = wildcard.next
    }
    return null
  }
}
