/** Gives each function its record in the files that the node's processes share (`edge/stats.ts` and its neighbours). */

import { LIMITS } from '../../../protocol/limits.ts'

export class SlotTable {
  readonly #clear: (slot: number) => void
  readonly #taken: (functionId: string, slot: number) => void
  readonly #slots = new Map<string, number>()
  /** Functions that left, oldest first. Their counters stay until the slot is needed, so a function that returns goes on counting. */
  readonly #released = new Map<string, number>()
  #used = 0

  /** `clear` zeroes a slot in every file that has one; `taken` is told whose it is before anybody else is. */
  constructor(
    clear: (slot: number) => void,
    taken: (functionId: string, slot: number) => void = () => {},
  ) {
    this.#clear = clear
    this.#taken = taken
  }

  /**
   * The slot of a function, given on first use. Slots never used come first, so a freed one rests as long as possible
   * and a call that still ends in it writes to nobody else's record. Null when all `functionsMax` are held.
   */
  take(functionId: string): number | null {
    const held = this.#slots.get(functionId)
    if (held !== undefined) return held
    const slot = this.#released.get(functionId) ?? this.#fresh()
    if (slot === null) return null
    this.#released.delete(functionId)
    this.#slots.set(functionId, slot)
    this.#taken(functionId, slot)
    return slot
  }

  /** The slot that a function holds now. */
  find(functionId: string): number | null {
    return this.#slots.get(functionId) ?? null
  }

  /** The function that a slot belongs to, or did last. */
  functionOf(slot: number): string | null {
    for (const slots of [this.#slots, this.#released]) {
      for (const [functionId, held] of slots) if (held === slot) return functionId
    }
    return null
  }

  /** Frees the slots of all functions but these. */
  keepOnly(functionIds: { has(functionId: string): boolean }): void {
    for (const [functionId, slot] of this.#slots) {
      if (functionIds.has(functionId)) continue
      this.#slots.delete(functionId)
      this.#released.set(functionId, slot)
    }
  }

  /** Functions that hold a slot now. */
  entries(): IterableIterator<[string, number]> {
    return this.#slots.entries()
  }

  /** All slots that were ever given, those of functions that left included. */
  used(): number[] {
    return Array.from({ length: this.#used }, (_, slot) => slot)
  }

  #fresh(): number | null {
    if (this.#used < LIMITS.functionsMax) return this.#used++
    const oldest = this.#released.entries().next().value
    if (oldest === undefined) return null
    const [functionId, slot] = oldest
    this.#released.delete(functionId)
    this.#clear(slot)
    return slot
  }
}
