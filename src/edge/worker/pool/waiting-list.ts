/** Calls that wait for an executor: bounded in number and in time, first come first served among those that can run. */

interface Entry<T> {
  readonly item: T
  readonly timer: ReturnType<typeof setTimeout>
}

export class WaitingList<T> {
  readonly #itemsMax: number
  readonly #waitMsMax: number
  readonly #onTimeout: (item: T) => void
  #entries: Entry<T>[] = []

  constructor(itemsMax: number, waitMsMax: number, onTimeout: (item: T) => void) {
    this.#itemsMax = itemsMax
    this.#waitMsMax = waitMsMax
    this.#onTimeout = onTimeout
  }

  get length(): number {
    return this.#entries.length
  }

  /** False when the list is full. */
  add(item: T): boolean {
    if (this.#entries.length >= this.#itemsMax) return false
    const timer = setTimeout(() => this.#expire(item), this.#waitMsMax)
    this.#entries.push({ item, timer })
    return true
  }

  /** Offers items in order while `more` holds; those that `take` accepts leave the list. */
  takeWhere(take: (item: T) => boolean, more: () => boolean): void {
    const kept: Entry<T>[] = []
    for (const [index, entry] of this.#entries.entries()) {
      if (!more()) {
        kept.push(...this.#entries.slice(index))
        break
      }
      if (take(entry.item)) clearTimeout(entry.timer)
      else kept.push(entry)
    }
    this.#entries = kept
  }

  /** Empties the list. */
  drain(): T[] {
    const entries = this.#entries
    this.#entries = []
    for (const { timer } of entries) clearTimeout(timer)
    return entries.map(({ item }) => item)
  }

  #expire(item: T): void {
    const before = this.#entries.length
    this.#entries = this.#entries.filter((entry) => entry.item !== item)
    if (this.#entries.length < before) this.#onTimeout(item)
  }
}
