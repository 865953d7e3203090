/**
 * The seats of worker processes: each has its statistics file and its cells in the files that all share. A process keeps its
 * seat for life; there are more seats than places, because a spare worker has one too.
 */

export class Seats {
  readonly #free: number[]

  constructor(seats: number) {
    this.#free = Array.from({ length: seats }, (_, seat) => seat)
  }

  /** The lowest free seat. Throws when all are taken, which only a mistake in the supervision can bring about. */
  take(): number {
    const seat = this.#free.sort((a, b) => a - b).shift()
    if (seat === undefined) throw new Error('All seats of workers are taken.')
    return seat
  }

  /** Its process has ended, and nobody looks at what it left there any more. */
  release(seat: number): void {
    this.#free.push(seat)
  }
}
