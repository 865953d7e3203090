/** What the fetch thread does: runs the fetches that executor threads ask for, so many at a time, until done or cancelled. */

import { LIMITS } from '../../../protocol/limits.ts'
import type { FetchOutcome } from '../../stats.ts'
import type { ConnectDeps } from './connect.ts'
import { runFetch } from './fetcher.ts'
import type { FetchDeps } from './fetcher.ts'
import { IdleConnections } from './idle-connections.ts'
import { createLookups } from './lookups.ts'
import { LOOP_FIELD, loopField } from './loop.ts'
import type { ToFetchThread } from './messages.ts'
import { FETCH_CODES, failureOf, FetchError } from './outcome.ts'
import type { FetchFailure } from './outcome.ts'
import { parseFetchRequest } from './request.ts'
import type { FetchRequest } from './request.ts'
import type { ResponseHead } from './response-parser.ts'
import { ResponseWriter } from './shared-response.ts'

/**
 * Milliseconds past its call's deadline at which a fetch ends by itself. The executor ends the call and cancels first: a guest
 * out of time is stopped, and not told about a timeout that it could go on after.
 */
const graceMs = 100

export interface FetchServiceDeps extends ConnectDeps {
  /** Told how fetches ended, and how many. */
  readonly count: (outcome: FetchOutcome, times: number) => void
}

interface Running {
  cancel(): void
  resume(): void
}

/** One port's view of the service. */
export interface FetchClient {
  take(message: ToFetchThread): void
  /** The executor thread is gone: cancels what it had open. */
  close(): void
}

export interface FetchService {
  connect(): FetchClient
}

export function createFetchService(deps: FetchServiceDeps): FetchService {
  /** Fetches that run, in all and by function version. */
  let total = 0
  const byOwner = new Map<string, number>()
  const resolverOf = createLookups(deps.resolve)
  const connections = new IdleConnections()

  function enter(owner: string): boolean {
    const own = byOwner.get(owner) ?? 0
    if (own >= LIMITS.fetchesPerFunctionMax || total >= LIMITS.fetchesPerWorkerMax) return false
    byOwner.set(owner, own + 1)
    total += 1
    return true
  }

  function leave(owner: string): void {
    const own = (byOwner.get(owner) ?? 1) - 1
    if (own === 0) byOwner.delete(owner)
    else byOwner.set(owner, own)
    total -= 1
  }

  function start(message: ToFetchThread & { type: 'start' }, ended: () => void): Running | null {
    const writer = new ResponseWriter(message.memory)
    function refuse(failure: FetchFailure): null {
      writer.end(FETCH_CODES[failure])
      writer.release()
      deps.count(failure, 1)
      return null
    }
    let request: FetchRequest
    try {
      request = requestOf(message)
    } catch (thrown) {
      return refuse(failureOf(thrown))
    }
    if (!enter(message.owner)) return refuse('too_many_fetches')
    const running = new RunningFetch(message, request, writer, {
      ...deps,
      resolve: resolverOf(message.owner),
      connections: connections.of(message.owner),
    })
    void running.done.then((outcome) => {
      leave(message.owner)
      deps.count(outcome, 1)
      ended()
      writer.release()
    })
    return running
  }

  return {
    connect() {
      const open = new Map<number, Running>()
      return {
        take(message) {
          switch (message.type) {
            case 'start': {
              const running = start(message, () => open.delete(message.id))
              if (running !== null) open.set(message.id, running)
              return
            }
            case 'resume':
              return open.get(message.id)?.resume()
            case 'cancel':
              return open.get(message.id)?.cancel()
            case 'refused':
              return deps.count(message.failure, message.times)
          }
        },
        close() {
          for (const running of open.values()) running.cancel()
        },
      }
    },
  }
}

/** Throws FetchError when the text is no request, or goes in circles. */
function requestOf({ text, places }: ToFetchThread & { type: 'start' }): FetchRequest {
  const parsed = parseFetchRequest(text)
  return { ...parsed, headers: [...parsed.headers, [LOOP_FIELD, loopField(places)]] }
}

class RunningFetch implements Running {
  /** Never rejects. */
  readonly done: Promise<FetchOutcome>
  readonly #writer: ResponseWriter
  readonly #abort = new AbortController()
  /** Wakes who waits for room: the socket, or at the end what is left of the body. */
  #onRoom: () => void = () => {}
  #headGiven = false
  #cancelled = false

  constructor(
    message: ToFetchThread & { type: 'start' },
    request: FetchRequest,
    writer: ResponseWriter,
    deps: FetchDeps,
  ) {
    this.#writer = writer
    const limitMs = Math.min(Math.max(message.left_ms, 0) + graceMs, LIMITS.fetchMsMax)
    const endsAtMs = performance.now() + limitMs
    const timer = setTimeout(() => {
      this.#abort.abort(new FetchError('timeout', `The fetch took more than ${limitMs} ms.`))
    }, limitMs)
    this.done = this.#run(request, message.allow, deps, () => endsAtMs - performance.now())
    void this.done.finally(() => clearTimeout(timer))
  }

  resume(): void {
    if (this.#writer.flush()) this.#onRoom()
  }

  cancel(): void {
    this.#cancelled = true
    this.#abort.abort(new FetchError('timeout', 'The call is over, or has closed the response.'))
  }

  async #run(
    request: FetchRequest,
    allow: readonly string[],
    deps: FetchDeps,
    leftMs: () => number,
  ): Promise<FetchOutcome> {
    const { signal } = this.#abort
    try {
      const sink = {
        onHead: (head: ResponseHead) => {
          this.#writer.putHead(guestHead(head))
          this.#headGiven = true
        },
        onBody: (bytes: Uint8Array) => this.#writer.putBody(bytes),
        onRoom: (resume: () => void) => {
          this.#onRoom = resume
        },
      }
      await runFetch(request, allow, sink, deps, leftMs, signal)
      await this.#flushed(signal)
      this.#writer.end(1)
      return 'ok'
    } catch (thrown) {
      const failure = failureOf(thrown)
      this.#writer.end(FETCH_CODES[failure])
      // A guest may leave a response half-read; that is no failure of the fetch.
      return this.#cancelled && this.#headGiven ? 'ok' : failure
    }
  }

  /** Resolves when the ring has all of the body. */
  #flushed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      this.#onRoom = resolve
      if (this.#writer.flush()) resolve()
    })
  }
}

/** Fields of the connection, which ends here. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** The head as `http_response_head` gives it: `Status: 200\r\n` and a line per field. */
function guestHead({ status, headers }: ResponseHead): Uint8Array {
  const named = headers
    .filter(([name]) => name === 'connection')
    .flatMap(([, value]) => value.toLowerCase().split(','))
    .map((name) => name.trim())
  const lines = headers
    .filter(([name]) => !HOP_BY_HOP.has(name) && !named.includes(name))
    .map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`Status: ${status}\r\n${lines.join('')}`, 'latin1')
}
