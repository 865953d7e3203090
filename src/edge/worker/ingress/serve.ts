/**
 * One request of one function: admit → read body → enter → run → respond, counted whole whatever becomes of it. On one thread without a
 * pause where the function runs here and there is no body to wait for, else as long as it takes.
 */

import type { ErrorCode } from '../../../errors.ts'
import { toEdgefnError } from '../../../errors.ts'
import { errorResponse } from '../../../http/error-response.ts'
import type { Route } from '../../../protocol/manifest.ts'
import type { Ticket } from '../../breaker-file.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { StatsFile } from '../../stats.ts'
import type { Admission } from '../admit/admission.ts'
import type { Guard } from '../admit/guard.ts'
import { type GuestRequest, type Invoker, type Outcome, queueWaitMs } from '../call.ts'
import { hasBody, readBody } from './body.ts'
import type { CallLog } from './call-log.ts'
import type { OnDemand } from './on-demand.ts'
import { IncomingRequest } from './incoming-request.ts'
import type { Connection, HeaderRecord, Identified, RequestHead } from './request.ts'
import { outcomeError, Responder } from './respond.ts'

export interface ServeDeps {
  readonly admission: Admission
  readonly guard: Guard
  readonly invoker: Invoker
  readonly onDemand: OnDemand
  readonly stats: StatsFile
  readonly callLog: CallLog
  readonly bodyBytesMax: number
  /** Milliseconds of the monotonic clock that executor threads share (`Libc.monotonicMs`). */
  readonly nowMs: () => number
  /** Idle timeout of connections, to which they return after a request that was given longer. */
  readonly idleSeconds: number
}

/** One call of a function: the request that has it to go to, and what is to be undone or told when it ends. */
export class Call {
  readonly request: Request
  readonly connection: Connection
  readonly requestId: string
  readonly record: HeaderRecord
  readonly head: RequestHead
  readonly route: Route
  readonly fn: WorkerFunction
  /** When the request was read, its body too. */
  readMs: number
  admitted = false
  ticket: Ticket | null = null
  outcome: Outcome | null = null

  constructor(identified: Identified, head: RequestHead, route: Route, fn: WorkerFunction) {
    this.request = identified.request
    this.connection = identified.connection
    this.requestId = identified.requestId
    this.record = identified.record
    this.readMs = identified.readMs
    this.head = head
    this.route = route
    this.fn = fn
  }
}

/** What a function is refused for without being run; whoever decided it has logged it. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['function_quarantined', 'circuit_open'])

const NO_BODY = new Uint8Array(0)
/** Bun's longest idle timeout. */
const idleSecondsMax = 255

/** Throws, or rejects with, `bad_request` only; everything else is a response. */
export type Serve = (call: Call) => Response | Promise<Response>

export function createServe(deps: ServeDeps): Serve {
  const { stats, guard, admission, invoker } = deps
  const responder = new Responder()
  const linesLeft = (fn: WorkerFunction) => deps.callLog.linesLeft(fn)

  function serve(call: Call): Response | Promise<Response> {
    const { fn, request, record } = call
    stats.add(fn.slot, 'in_flight', 1)
    let outcome: Outcome | null = null
    let incoming: IncomingRequest
    try {
      guard.check(fn)
      admission.admit(fn)
      call.admitted = true
      if (hasBody(request, record)) return serveLater(call)
      incoming = new IncomingRequest(call, NO_BODY, call.readMs, linesLeft)
      enter(call, 0)
      outcome = runNow(fn, incoming)
    } catch (thrown) {
      return failed(call, thrown)
    }
    return outcome === null ? runLater(call, incoming) : ended(call, outcome, call.readMs)
  }

  async function serveLater(call: Call): Promise<Response> {
    const { fn, request, record, connection } = call
    let incoming: IncomingRequest
    let outcome: Outcome | null
    try {
      // Found out before the body is read: afterwards the client may be gone.
      const peer = fn.abi === 'edgefn' ? null : connection.peer()
      const body = await readBody(request, record, {
        bytesMax: deps.bodyBytesMax,
        renew: () => connection.patience(deps.idleSeconds),
      })
      call.readMs = deps.nowMs()
      incoming = new IncomingRequest(call, body, call.readMs, linesLeft, peer)
      // Not before its body is there: a probe must not wait for a slow client.
      enter(call, body.byteLength)
      outcome = runNow(fn, incoming)
    } catch (thrown) {
      return failed(call, thrown)
    }
    return outcome === null ? runLater(call, incoming) : ended(call, outcome, call.readMs)
  }

  function enter(call: Call, bodyBytes: number): void {
    const { fn } = call
    call.ticket = guard.enter(fn)
    stats.add(fn.slot, 'invocations', 1)
    if (bodyBytes > 0) stats.add(fn.slot, 'request_bytes', bodyBytes)
  }

  function runNow(fn: WorkerFunction, request: GuestRequest): Outcome | null {
    const outcome = invoker.invokeNow(fn, request)
    if (outcome !== null) observe(fn, outcome, outcome.execution_ms, false)
    return outcome
  }

  /** Runs the call on another thread. */
  async function runLater(call: Call, incoming: IncomingRequest): Promise<Response> {
    let outcome: Outcome
    try {
      outcome = await invoke(call, incoming.plain())
    } catch (thrown) {
      return failed(call, thrown)
    }
    return ended(call, outcome, deps.nowMs())
  }

  /** The response of a call that was run, which ends here; `nowMs` may be as old as a call in the inline lane. */
  function ended(call: Call, outcome: Outcome, nowMs: number): Response {
    const { fn, requestId, readMs } = call
    call.outcome = outcome
    try {
      deps.callLog.guest(fn, requestId, outcome)
      if (!outcome.ok) throw outcomeError(outcome)
      const response = responder.respond(outcome.response, requestId)
      if (call.ticket !== null) guard.settle(call.ticket, null, nowMs)
      stats.add(fn.slot, 'response_bytes', outcome.response.body.byteLength)
      if (outcome.response.status >= 500) stats.add(fn.slot, 'server_errors', 1)
      if (outcome.entered_ms > 0) observeDispatch(readMs, outcome)
      release(call)
      return response
    } catch (thrown) {
      return failed(call, thrown)
    }
  }

  /** What edgefn itself took of the way in and out. */
  function observeDispatch(readMs: number, { entered_ms, left_ms }: Outcome): void {
    stats.observeDispatch('enter', (entered_ms - readMs) / 1000)
    stats.observeDispatch('leave', (deps.nowMs() - left_ms) / 1000)
  }

  /** The response of a call that failed, or was never run; it ends here. */
  function failed(call: Call, thrown: unknown): Response {
    const { fn, requestId } = call
    const error = toEdgefnError(thrown)
    release(call)
    if (call.ticket !== null) guard.settle(call.ticket, error.code, deps.nowMs())
    if (error.code === 'bad_request') throw error
    stats.addError(fn.slot, error.code)
    if (error.fault !== 'client' && !REFUSALS.has(error.code)) {
      deps.callLog.failure(fn, requestId, error, call.outcome)
    }
    return errorResponse(error, requestId)
  }

  function release({ fn, admitted }: Call): void {
    if (admitted) admission.release(fn)
    stats.add(fn.slot, 'in_flight', -1)
  }

  /** Runs the call, with a module that is fetched first when it is missing, and once again when its file is damaged. */
  async function invoke(call: Call, request: GuestRequest): Promise<Outcome> {
    const { fn, connection } = call
    const longest = queueWaitMs(fn) + fn.max_execution_ms
    beSilentFor(connection, fn.path === null ? longest + deps.onDemand.waitMsMax : longest)
    try {
      const outcome = await attempt(call, request, false)
      if (outcome.ok || outcome.code !== 'artifact_mismatch') return outcome
      beSilentFor(connection, longest + deps.onDemand.waitMsMax)
      const second = await attempt(call, request, true)
      if (second.ok || second.code !== 'artifact_mismatch') return second
      return { ...second, code: 'function_unavailable' }
    } finally {
      connection.patience(deps.idleSeconds)
    }
  }

  async function attempt({ fn, request }: Call, guestRequest: GuestRequest, damaged: boolean) {
    const missing = damaged || fn.path === null
    const ready = missing ? await deps.onDemand.fetch(fn, damaged) : fn
    const admitted = missing ? { ...guestRequest, admitted_ms: deps.nowMs() } : guestRequest
    const startedMs = deps.nowMs()
    const outcome = await invoker.invoke(ready, admitted, () => request.signal)
    if (!outcome.ok && outcome.code === 'artifact_mismatch') return outcome
    observe(fn, outcome, deps.nowMs() - startedMs, missing)
    return outcome
  }

  function observe(fn: WorkerFunction, { cold }: Outcome, ms: number, missing: boolean): void {
    stats.observe(fn.slot, ms / 1000)
    stats.add(fn.slot, missing ? 'cache_misses' : 'cache_hits', 1)
    if (cold) stats.add(fn.slot, 'cold_starts', 1)
  }

  return serve
}

/** Lets a connection be silent while its request is worked on. Bun's timeouts may fire up to 4 s early. */
function beSilentFor(connection: Connection, ms: number): void {
  const seconds = Math.ceil(ms / 1000) + 5
  connection.patience(seconds <= idleSecondsMax ? seconds : 0)
}
