/** How a node and its neighbours are: a function under steady load, the workers' processes, their memory. */

import { readFileSync } from 'node:fs'

import type { Node } from './harness.ts'
import { until } from './harness.ts'

/** What the neighbour saw from one moment to another. */
export interface NeighbourReport {
  readonly requests: number
  readonly failures: readonly string[]
  /** Milliseconds of the slowest answer. */
  readonly slowestMs: number
}

/** A well-behaved function under steady load from some clients, as its users see it. */
export class Neighbour {
  readonly #url: string
  readonly #done: Promise<unknown>
  #running = true
  #requests = 0
  #slowestMs = 0
  #failures: string[] = []

  /** `text` is what the function answers. */
  constructor(url: string, clients: number, text: string) {
    this.#url = url
    this.#done = Promise.all(Array.from({ length: clients }, () => this.#client(text)))
  }

  /** What happened since the last report; waits until every client has had an answer in that time. */
  async report(): Promise<NeighbourReport> {
    const enough = this.#requests + 8
    await until('the neighbour is answered', () => this.#requests >= enough)
    const report = {
      requests: this.#requests,
      failures: this.#failures,
      slowestMs: this.#slowestMs,
    }
    this.#requests = 0
    this.#slowestMs = 0
    this.#failures = []
    return report
  }

  async stop(): Promise<void> {
    this.#running = false
    await this.#done
  }

  async #client(text: string): Promise<void> {
    while (this.#running) {
      const startedAt = performance.now()
      try {
        const response = await fetch(this.#url)
        const answer = await response.text()
        if (response.status !== 200 || answer !== text) {
          this.#failures.push(`${response.status} ${answer.slice(0, 200)}`)
        }
      } catch (thrown) {
        this.#failures.push(String(thrown))
      }
      this.#slowestMs = Math.max(this.#slowestMs, performance.now() - startedAt)
      this.#requests += 1
      await Bun.sleep(5)
    }
  }
}

export interface VitalSigns {
  /** Pids of the workers: the same as long as none dies or is replaced. */
  readonly workers: readonly number[]
  readonly restarts: number
  /** What the agent said of workers that ended, so that a failure names the reason. */
  readonly deaths: readonly string[]
}

export async function vitalSigns(node: Node): Promise<VitalSigns> {
  return {
    workers: node.workers().sort((a, b) => a - b),
    restarts: await node.metric('edgefn_worker_restarts_total'),
    deaths: node.output.split('\n').filter((line) => line.includes('"error_type":"worker_lost"')),
  }
}

/** Resident bytes of a process, from the kernel. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(kilobytes?.[1] ?? 0) * 1024
}
