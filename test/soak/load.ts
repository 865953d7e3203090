/** Mixed load on a node: functions that behave, functions that do not, and what their clients saw. */

import type { Node } from '../e2e/harness.ts'
import { below, pick } from '../fuzz/random.ts'

/** A function under load. */
export interface LoadedFunction {
  readonly name: string
  /** Paths below its own, one picked for each request. */
  readonly paths: readonly string[]
  /** Statuses that it may answer with; null for one that does whatever it likes, short of hurting others. */
  readonly statuses: readonly number[] | null
}

/** What the clients of one function saw. */
export class Tally {
  answered = 0
  /** Connections that ended without an answer. */
  lost = 0
  readonly statuses = new Map<number, number>()
  /** Answers that should not have been, the first few. */
  readonly wrong: string[] = []
  wrongCount = 0
  readonly latenciesMs: number[] = []

  /** Milliseconds that this part of the answers took at most; `share` from 0 to 1. */
  latencyMs(share: number): number {
    const sorted = this.latenciesMs.toSorted((a, b) => a - b)
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  }
}

/** Milliseconds between two requests of a client. */
const pauseMsMax = 20
/** Words of a request's body, at most. */
const bodyWordsMax = 500
const wrongToldMax = 5
/** Latencies kept of each function. */
const latenciesMax = 200_000

export class MixedLoad {
  readonly tallies: ReadonlyMap<string, Tally>
  readonly #node: Node
  readonly #functions: readonly LoadedFunction[]
  readonly #random: () => number
  readonly #clients: Promise<unknown>
  #running = true

  constructor(
    node: Node,
    functions: readonly LoadedFunction[],
    clients: number,
    random: () => number,
  ) {
    this.#node = node
    this.#functions = functions
    this.#random = random
    this.tallies = new Map(functions.map(({ name }) => [name, new Tally()]))
    this.#clients = Promise.all(Array.from({ length: clients }, () => this.#client()))
  }

  /** Lets every request that was sent be answered. */
  async stop(): Promise<void> {
    this.#running = false
    await this.#clients
  }

  async #client(): Promise<void> {
    while (this.#running) {
      await this.#request(pick(this.#random, this.#functions))
      await Bun.sleep(below(this.#random, pauseMsMax))
    }
  }

  async #request(fn: LoadedFunction): Promise<void> {
    const tally = this.tallies.get(fn.name) as Tally
    const startedAt = performance.now()
    const hasBody = this.#random() < 0.3
    const init = hasBody
      ? { method: 'POST', body: 'edgefn '.repeat(below(this.#random, bodyWordsMax)) }
      : {}
    let status: number
    let text: string
    try {
      const response = await this.#node.get(`/${fn.name}${pick(this.#random, fn.paths)}`, init)
      status = response.status
      text = await response.text()
    } catch {
      tally.lost += 1
      return
    }
    tally.answered += 1
    tally.statuses.set(status, (tally.statuses.get(status) ?? 0) + 1)
    if (tally.latenciesMs.length < latenciesMax)
      tally.latenciesMs.push(performance.now() - startedAt)
    const isRight = fn.statuses === null ? status >= 200 : fn.statuses.includes(status)
    if (isRight) return
    tally.wrongCount += 1
    if (tally.wrong.length < wrongToldMax) tally.wrong.push(`${status} ${text.slice(0, 200)}`)
  }
}
