/** A network that loses, doubles, delays and reorders, and whose links can be cut. */

import { EdgefnError } from '../../src/errors.ts'
import type { Owner, VirtualTime } from './virtual-time.ts'

/** What a client waits for an answer; that of the agent's own client. */
const answerMsMax = 10_000

export interface Weather {
  /** Shares of messages, each way. */
  lost: number
  doubled: number
  /** Milliseconds that one message takes at most; and a share of them takes a hundred times as long. */
  delayMsMax: number
  slow: number
}

export class Network {
  readonly weather: Weather
  readonly #time: VirtualTime
  readonly #cut = new Set<string>()

  constructor(time: VirtualTime, weather: Weather) {
    this.#time = time
    this.weather = weather
  }

  cut(name: string): void {
    this.#cut.add(name)
  }

  heal(): void {
    this.#cut.clear()
    Object.assign(this.weather, { lost: 0, doubled: 0, slow: 0 })
  }

  mend(name: string): void {
    this.#cut.delete(name)
  }

  /** One way and never answered; it may arrive twice, late, or not at all. */
  send(from: Owner, to: () => Owner | null, arrive: () => void): void {
    const copies = this.#time.random() < this.weather.doubled ? 2 : 1
    for (let copy = 0; copy < copies; copy += 1) {
      if (this.#isLost(from)) continue
      this.#time.at(this.#delayMs(), () => {
        const owner = to()
        if (owner?.alive !== true || this.#cut.has(from.name) || this.#cut.has(owner.name)) return
        this.#time.as(owner, arrive)
      })
    }
  }

  /**
   * A request and its answer. Throws `cp_unreachable` when either is lost, too late, or nobody is there; the work may have been done
   * then all the same, and is done twice when the request is doubled.
   */
  call<T>(from: Owner, to: () => Owner | null, work: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const deadline = new EdgefnError('cp_unreachable', 'There is no answer.')
    this.#time.at(answerMsMax, () => reject(deadline), from)
    this.send(from, to, () => {
      const server = to()
      if (server === null) return
      work().then(
        (result) =>
          this.send(
            server,
            () => from,
            () => resolve(result),
          ),
        (thrown: unknown) =>
          this.send(
            server,
            () => from,
            () => reject(thrown),
          ),
      )
    })
    return promise
  }

  #isLost(from: Owner): boolean {
    return this.#cut.has(from.name) || this.#time.random() < this.weather.lost
  }

  #delayMs(): number {
    const { delayMsMax, slow } = this.weather
    const scale = this.#time.random() < slow ? 100 : 1
    return 1 + this.#time.random() * delayMsMax * scale
  }
}
