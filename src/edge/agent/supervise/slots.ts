/** Gives each of many keys its record in the files that the node's processes share (`edge/stats.ts` and its neighbours). */

export interface SlotTableOptions {
  /** Records of a file. */
  readonly slots_max: number
  /** Zeroes a slot in every file that has one; `key` is whose it was. */
  clear(slot: number, key: string): void
  /** Told whose a slot is before anybody else is. */
  taken?(key: string, slot: number): void
}

export class SlotTable {
  readonly #options: SlotTableOptions
  readonly #slots = new Map<string, number>()
  /** Keys that left, oldest first. Their records stay until the slot is needed, so a key that returns goes on counting. */
  readonly #released = new Map<string, number>()
  /** Whose each slot is, or was last. */
  readonly #keys: string[] = []

  constructor(options: SlotTableOptions) {
    this.#options = options
  }

  /**
   * The slot of a key, given on first use. Slots never used come first, so a freed one rests as long as possible and a call
   * that still ends in it writes to nobody else's record. Null when all are held.
   */
  take(key: string): number | null {
    const held = this.#slots.get(key)
    if (held !== undefined) return held
    const slot = this.#released.get(key) ?? this.#fresh()
    if (slot === null) return null
    this.#released.delete(key)
    this.#slots.set(key, slot)
    this.#keys[slot] = key
    this.#options.taken?.(key, slot)
    return slot
  }

  /** The slot that a key holds now. */
  find(key: string): number | null {
    return this.#slots.get(key) ?? null
  }

  /** The key that a slot belongs to, or did last. */
  keyOf(slot: number): string | null {
    return this.#keys[slot] ?? null
  }

  /** Frees the slots of all keys but these. */
  keepOnly(keys: { has(key: string): boolean }): void {
    for (const [key, slot] of this.#slots) {
      if (keys.has(key)) continue
      this.#slots.delete(key)
      this.#released.set(key, slot)
    }
  }

  /** Keys that hold a slot now. */
  entries(): IterableIterator<[string, number]> {
    return this.#slots.entries()
  }

  /** All slots that were ever given, those of keys that left included. */
  used(): number[] {
    return Array.from(this.#keys.keys())
  }

  #fresh(): number | null {
    if (this.#keys.length < this.#options.slots_max) return this.#keys.length
    const oldest = this.#released.entries().next().value
    if (oldest === undefined) return null
    const [key, slot] = oldest
    this.#released.delete(key)
    this.#options.clear(slot, key)
    return slot
  }
}
