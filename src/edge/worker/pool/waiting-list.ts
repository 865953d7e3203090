/**
 * Calls that wait for an executor: bounded in number and in time. Within a group first come first served; between groups the
 * one with the least running goes first, so that a function with many slow calls does not keep others from theirs.
 */

interface Entry<T> {
  readonly item: T
  readonly timer: ReturnType<typeof setTimeout>
}

export interface WaitingLimits {
  readonly itemsMax: number
  /** Of one group, so that no group fills the list. */
  readonly groupItemsMax: number
}

export class WaitingList<G, T> {
  readonly #limits: WaitingLimits
  readonly #onTimeout: (item: T) => void
  /** Groups that have something waiting, in the order in which they began to. */
  readonly #groups = new Map<G, Entry<T>[]>()
  #length = 0

  constructor(limits: WaitingLimits, onTimeout: (item: T) => void) {
    this.#limits = limits
    this.#onTimeout = onTimeout
  }

  get length(): number {
    return this.#length
  }

  /** Puts an item in for `waitMs` milliseconds at most. False when the list or the group's part of it is full. */
  add(group: G, item: T, waitMs: number): boolean {
    const entries = this.#groups.get(group) ?? []
    if (this.#length >= this.#limits.itemsMax) return false
    if (entries.length >= this.#limits.groupItemsMax) return false
    const timer = setTimeout(() => this.#expire(group, item), Math.max(waitMs, 0))
    entries.push({ item, timer })
    this.#groups.set(group, entries)
    this.#length += 1
    return true
  }

  /** Takes an item out before its turn; false when it does not wait (any more). */
  remove(group: G, item: T): boolean {
    const entry = this.#groups.get(group)?.find((each) => each.item === item)
    if (entry !== undefined) this.#remove(group, entry)
    return entry !== undefined
  }

  /**
   * While `more` holds, offers the first item of the group with the lowest `rank`, then of the next one; what `take` accepts
   * leaves the list. Ends when no group's first item is accepted.
   */
  takeFair(rank: (group: G) => number, take: (item: T) => boolean, more: () => boolean): void {
    while (more() && this.#takeOne(rank, take));
  }

  /** Empties the list. */
  drain(): T[] {
    const entries = [...this.#groups.values()].flat()
    this.#groups.clear()
    this.#length = 0
    for (const { timer } of entries) clearTimeout(timer)
    return entries.map(({ item }) => item)
  }

  #takeOne(rank: (group: G) => number, take: (item: T) => boolean): boolean {
    const groups = [...this.#groups.keys()].sort((a, b) => rank(a) - rank(b))
    for (const group of groups) {
      const first = this.#groups.get(group)?.[0]
      if (first === undefined || !take(first.item)) continue
      this.#remove(group, first)
      return true
    }
    return false
  }

  #remove(group: G, entry: Entry<T>): void {
    const entries = this.#groups.get(group) ?? []
    const at = entries.indexOf(entry)
    if (at < 0) return
    clearTimeout(entry.timer)
    entries.splice(at, 1)
    this.#length -= 1
    if (entries.length === 0) this.#groups.delete(group)
  }

  #expire(group: G, item: T): void {
    if (this.remove(group, item)) this.#onTimeout(item)
  }
}
