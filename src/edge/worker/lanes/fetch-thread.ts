/** The fetch thread of a worker as the main thread sees it: started when the first function with an allow-list is called, one for all executors. */

import { MessageChannel } from 'node:worker_threads'
import type { MessagePort, Worker } from 'node:worker_threads'

import { errorMessage } from '../../../errors.ts'
import type { StatsFile } from '../../stats.ts'
import type { FromFetchThread, ToFetches } from './messages.ts'
import { startThread, threadEnd } from './thread.ts'

export interface FetchThreadOptions {
  /** Path of `main.ts`. */
  readonly entry: string
  /** Ranges that the operator opens to fetches besides public addresses. */
  readonly allow_private: readonly string[]
  readonly stats: StatsFile
  readonly onDefect: (reason: string) => void
}

export class FetchThread {
  readonly #options: FetchThreadOptions
  #thread: Worker | null = null
  #closed = false

  constructor(options: FetchThreadOptions) {
    this.#options = options
  }

  /** A port to the thread, for one executor thread; starts the thread when there is none yet. */
  connect(): MessagePort {
    this.#thread ??= this.#start()
    const { port1, port2 } = new MessageChannel()
    this.#thread.postMessage({ type: 'connect', port: port2 } satisfies ToFetches, [port2])
    return port1
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#thread === null) return
    this.#thread.postMessage({ type: 'end' } satisfies ToFetches)
    await threadEnd(this.#thread)
  }

  #start(): Worker {
    const { entry, allow_private, stats, onDefect } = this.#options
    const thread = startThread(entry, { edgefn_thread: 'fetch', allow_private })
    thread.on('message', ({ counts }: FromFetchThread) => {
      for (const [outcome, times] of counts) stats.addWorker(`fetch_${outcome}`, times)
    })
    thread.on('error', (thrown) => onDefect(`The fetch thread failed: ${errorMessage(thrown)}.`))
    thread.on('exit', () => {
      if (!this.#closed) onDefect('The fetch thread ended.')
    })
    return thread
  }
}
