/** How much of a range of native memory has been touched. */

import type { Libc } from './libc.ts'

export class TouchedPages {
  readonly #libc: Pick<Libc, 'resident' | 'pageBytes'>
  /** As long as it had to be so far. */
  #pages = new Uint8Array(64)

  constructor(libc: Pick<Libc, 'resident' | 'pageBytes'>) {
    this.#libc = libc
  }

  /**
   * Bytes of the range that the system has given pages for, and has not swapped out; all of them where it does not tell, nor is there
   * such a range. `address` is where a page begins. Takes some 3 µs, and 1 µs more for each MiB.
   */
  bytes(address: number, length: number): number {
    const { pageBytes } = this.#libc
    const count = Math.ceil(length / pageBytes)
    if (count === 0) return 0
    if (this.#pages.length < count) this.#pages = new Uint8Array(count)
    const pages = this.#pages
    if (!this.#libc.resident(address, length, pages)) return length
    let touched = 0
    for (let page = 0; page < count; page += 1) touched += (pages[page] ?? 0) & 1
    return touched * pageBytes
  }
}
