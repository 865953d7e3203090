/** Everything host functions know and collect during one call. One guest runs in a thread at a time, so one of these is current. */

import { LIMITS } from '../../../protocol/limits.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestLogLevel, GuestLogMessage, GuestRequest } from '../call.ts'
import type { CallFetches } from '../fetch/line.ts'
import type { PluginCall } from './extism/plugin-call.ts'
import type { PendingResult } from './spin/result.ts'
import { StreamTable } from './wasi/streams.ts'

/** Why a host function ended the guest's call before it returned by itself. */
export type EndReason = 'exit' | 'deadline' | 'sleep' | 'response_too_large'

const decoder = new TextDecoder()
const EMPTY = new Uint8Array(0)
const NO_LOGS: readonly GuestLogMessage[] = []

export class CallContext {
  readonly fn: WorkerFunction
  request: GuestRequest
  /** Monotonic milliseconds (`Libc.monotonicMs`). */
  readonly startedMs: number
  readonly deadlineMs: number
  #logs: GuestLogMessage[] | null = null
  logsDropped = 0
  end: EndReason | null = null
  exitCode = 0
  /** Milliseconds that the guest has slept by its own wish. */
  sleptMs = 0
  /** A program's arguments and environment as it gets them; made when it asks. */
  argumentStrings: readonly Uint8Array[] | null = null
  environmentStrings: readonly Uint8Array[] | null = null
  /** What the guest reads from stdin, and how much of it it has read. */
  stdin: Uint8Array<ArrayBuffer> = EMPTY
  stdinOffset = 0
  /** Whether stdout is the response, as for WASI commands, or goes to the log. */
  answersOnStdout = false
  /** Kernel and variables of an Extism plug-in; null for guests of other ABIs. */
  plugin: PluginCall | null = null
  /** The result of a Spin host function that waits for the guest to allocate memory for it. */
  pending: PendingResult | null = null
  /** What the guest set with `response_head`; null when it did not. */
  head: { readonly status: number; readonly lines: Uint8Array<ArrayBuffer> } | null = null
  /** Responses of `http_fetch` that are open; null until the first. */
  fetches: CallFetches | null = null
  /** What `sql_result` gives: of the last statement, or why it failed. */
  sqlResult: Uint8Array = EMPTY
  /** Response bytes so far, with room to grow: one buffer, because a guest may write byte by byte. */
  #output: Uint8Array<ArrayBuffer> = EMPTY
  #outputBytes = 0
  #streams: StreamTable | null = null
  #partialLines: Map<number, Uint8Array<ArrayBuffer>> | null = null

  constructor(fn: WorkerFunction, request: GuestRequest, startedMs: number, deadlineMs: number) {
    this.fn = fn
    this.request = request
    this.startedMs = startedMs
    this.deadlineMs = deadlineMs
  }

  /** What the guest has logged so far. */
  get logs(): readonly GuestLogMessage[] {
    return this.#logs ?? NO_LOGS
  }

  /** The guest's descriptors as it has left them; made when it first asks, which guests that are no programs never do. */
  get streams(): StreamTable {
    this.#streams ??= new StreamTable()
    return this.#streams
  }

  /** Collects response bytes, which nobody else may change later; false when they pass the limit, and the call is then to be ended. */
  write(bytes: Uint8Array<ArrayBuffer>): boolean {
    const limit = LIMITS.responseBodyBytesMax + LIMITS.responseHeaderBytesMax
    const needed = this.#outputBytes + bytes.length
    if (needed > limit) {
      this.end = 'response_too_large'
      return false
    }
    if (this.#outputBytes === 0 && bytes.length > 0) {
      // Most write once.
      this.#output = bytes
      this.#outputBytes = needed
      return true
    }
    if (needed > this.#output.length) {
      const grown = new Uint8Array(Math.max(needed, Math.min(this.#output.length * 2, limit)))
      grown.set(this.#output.subarray(0, this.#outputBytes))
      this.#output = grown
    }
    this.#output.set(bytes, this.#outputBytes)
    this.#outputBytes = needed
    return true
  }

  get hasOutput(): boolean {
    return this.#outputBytes > 0
  }

  /** All response bytes as one piece. */
  takeOutput(): Uint8Array<ArrayBuffer> {
    if (this.#output.length === this.#outputBytes) return this.#output
    return this.#output.slice(0, this.#outputBytes)
  }

  /** Makes ready for another instance in the same call: what the one before wrote, read and closed counts for nothing. */
  beginAgain(request: GuestRequest): void {
    this.request = request
    this.argumentStrings = null
    this.environmentStrings = null
    this.end = null
    this.exitCode = 0
    this.stdinOffset = 0
    this.head = null
    this.sqlResult = EMPTY
    this.#outputBytes = 0
    this.#streams = null
  }

  /** Records a guest's message, cut to `logMessageBytesMax`. */
  log(level: GuestLogLevel, bytes: Uint8Array): void {
    this.#logs ??= []
    if (this.#logs.length >= this.request.log_messages_max) {
      this.logsDropped += 1
      return
    }
    const message = decoder.decode(bytes.subarray(0, LIMITS.logMessageBytesMax))
    this.#logs.push({ level, message, at: Date.now() })
  }

  /** Turns what a guest writes to stdout or stderr into log messages, a line each; the rest waits for its newline. */
  logStream(fd: number, level: GuestLogLevel, bytes: Uint8Array<ArrayBuffer>): void {
    this.#partialLines ??= new Map()
    const waiting = this.#partialLines.get(fd)
    let rest = waiting === undefined ? bytes : concat(waiting, bytes)
    for (let newline = rest.indexOf(10); newline >= 0; newline = rest.indexOf(10)) {
      if (newline > 0) this.log(level, rest.subarray(0, newline))
      rest = rest.subarray(newline + 1)
    }
    if (rest.length > LIMITS.logMessageBytesMax) {
      this.log(level, rest)
      rest = rest.subarray(rest.length)
    }
    this.#partialLines.set(fd, rest)
  }

  /** Logs lines that never got their newline; when the call is over. */
  flushStreams(): void {
    if (this.#partialLines === null) return
    for (const [fd, rest] of this.#partialLines) {
      if (rest.length > 0) this.log(fd === 2 ? 'warn' : 'info', rest)
    }
    this.#partialLines = null
  }
}

function concat(
  first: Uint8Array<ArrayBuffer>,
  second: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(first.length + second.length)
  joined.set(first)
  joined.set(second, first.length)
  return joined
}
