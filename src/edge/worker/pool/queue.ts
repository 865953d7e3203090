/** First in, first out. A Set or Map as a queue takes longer the more is in it: what was deleted at its front is passed over each time. */

/** Places of items that are gone before the others are moved together, and the share of all places that they must be. */
const goneMin = 64
const goneShare = 0.5

export class Queue<T> {
  #items: T[] = []
  #first = 0
  /** Items behind the first place that wait no more. */
  #gone = 0
  readonly #waits: (item: T) => boolean

  /** `waits`: whether an item that was added is still to be taken. */
  constructor(waits: (item: T) => boolean) {
    this.#waits = waits
  }

  /** Places in use; those of items that are gone are among them for a while. */
  get places(): number {
    return this.#items.length
  }

  add(item: T): void {
    this.#items.push(item)
  }

  /** Takes the first one that waits out; null when none does. */
  take(): T | null {
    while (this.#first < this.#items.length) {
      const item = this.#items[this.#first] as T
      this.#first += 1
      if (!this.#waits(item)) {
        this.#gone -= 1
        continue
      }
      this.#moveTogether()
      return item
    }
    this.#items = []
    this.#first = 0
    return null
  }

  /** One of those that were added waits no more. */
  left(): void {
    this.#gone += 1
    this.#moveTogether()
  }

  #moveTogether(): void {
    const gone = this.#first + this.#gone
    if (gone < goneMin || gone < this.#items.length * goneShare) return
    this.#items = this.#items.slice(this.#first).filter(this.#waits)
    this.#first = 0
    this.#gone = 0
  }
}
