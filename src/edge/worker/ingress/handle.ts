/** The way of one request: identify → validate → match → admit → read body → invoke → respond. Counting and logging happen here only. */

import type { ErrorCode } from '../../../errors.ts'
import { EdgefnError, toEdgefnError } from '../../../errors.ts'
import { errorResponse } from '../../../http/error-response.ts'
import { requestIdOf } from '../../../http/request-id.ts'
import { HTTP_METHODS, type Route } from '../../../protocol/manifest.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { StatsFile } from '../../stats.ts'
import { type GuestRequest, type Invoker, type Outcome, queueWaitMs } from '../call.ts'
import type { Admission } from '../admit/admission.ts'
import type { Guard } from '../admit/guard.ts'
import type { Match } from '../router/router.ts'
import { discardBody, readBody } from './body.ts'
import type { CallLog } from './call-log.ts'
import type { OnDemand } from './on-demand.ts'
import { guestRequest, type Peer, readHead, type RequestHead } from './request.ts'
import { guestResponse, methodRefusal, outcomeError } from './respond.ts'
import type { ServingTable } from './table.ts'

export interface HandlerDeps {
  /** The table in service at the moment of the call; a promise of it while there is none yet. */
  readonly table: () => ServingTable | Promise<ServingTable>
  readonly admission: Admission
  readonly guard: Guard
  readonly invoker: Invoker
  readonly onDemand: OnDemand
  readonly stats: StatsFile
  readonly log: Log
  readonly callLog: CallLog
  readonly bodyBytesMax: number
  /** Milliseconds of the monotonic clock that executor threads share (`Libc.monotonicMs`). */
  readonly nowMs: () => number
  /** Idle timeout of connections, to which they return after a request that was given longer. */
  readonly idleSeconds: number
}

/** What the server knows of a request's connection. */
export interface Connection {
  readonly serverPort: number
  peer(): Peer | null
  /** Sets the connection's idle timeout; 0 is none. */
  patience(seconds: number): void
}

/** Answers a request. Never rejects. */
export type Handler = (request: Request, connection: Connection) => Promise<Response>

/** A request that has a function to go to. */
interface Routed {
  readonly request: Request
  readonly connection: Connection
  readonly requestId: string
  readonly head: RequestHead
  readonly route: Route
  readonly fn: WorkerFunction
}

/** What a function is refused for without being run; whoever decided it has logged it. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['function_quarantined', 'circuit_open'])

/** Bun's longest idle timeout. */
const idleSecondsMax = 255

export function createHandler(deps: HandlerDeps): Handler {
  const { stats, log } = deps

  async function handle(request: Request, connection: Connection): Promise<Response> {
    const startedAt = performance.now()
    stats.addWorker('requests', 1)
    const requestId = requestIdOf(request.headers.get('x-request-id'))
    let response: Response
    let functionId: string | undefined
    try {
      const head = readHead(request)
      const current = deps.table()
      const table = current instanceof Promise ? await current : current
      const match = table.router.match(head.host, head.path, head.method)
      if (match.kind === 'found') {
        functionId = match.route.function_id
        const fn = table.functions.get(functionId)
        if (fn === undefined) throw notServed()
        response = await serve({ request, connection, requestId, head, route: match.route, fn })
      } else {
        response = unrouted(match, head, requestId)
      }
    } catch (thrown) {
      response = refused(thrown, requestId)
    }
    await discardBody(request)
    log.debug('Request answered', {
      request_id: requestId,
      ...(functionId === undefined ? {} : { function_id: functionId }),
      context: {
        method: request.method,
        status: response.status,
        duration_ms: performance.now() - startedAt,
      },
    })
    return response
  }

  function unrouted(
    match: Exclude<Match, { kind: 'found' }>,
    head: RequestHead,
    requestId: string,
  ) {
    stats.addWorker('unrouted', 1)
    if (match.kind === 'other_method') {
      const message = `The method ${head.method} is not served at this path.`
      return methodRefusal(message, match.allow, requestId)
    }
    return errorResponse(
      new EdgefnError('route_not_found', 'No route matches this host and path.'),
      requestId,
    )
  }

  /** The answer for what went wrong outside a function. */
  function refused(thrown: unknown, requestId: string): Response {
    const error = toEdgefnError(thrown)
    if (error.fault === 'client') stats.addWorker('refused', 1)
    else log.failure('The request could not be handled', error, { request_id: requestId })
    if (error.code === 'method_not_allowed') {
      return methodRefusal(error.message, HTTP_METHODS, requestId)
    }
    return errorResponse(error, requestId)
  }

  /** One request of one function, counted whole, whatever becomes of it. */
  async function serve(routed: Routed): Promise<Response> {
    const { fn, requestId } = routed
    stats.add(fn.slot, 'in_flight', 1)
    let outcome: Outcome | null = null
    let release: (() => void) | null = null
    let settle: ((code: ErrorCode | null) => void) | null = null
    try {
      deps.guard.check(fn)
      release = deps.admission.admit(fn)
      const call = await guestCall(routed)
      // Not before its body is there: a probe must not wait for a slow client.
      settle = deps.guard.enter(fn)
      stats.add(fn.slot, 'invocations', 1)
      stats.add(fn.slot, 'request_bytes', call.body.byteLength)
      outcome = await invoke(routed, call)
      deps.callLog.guest(fn, requestId, outcome)
      if (!outcome.ok) throw outcomeError(outcome)
      const response = guestResponse(outcome.response, requestId)
      settle(null)
      stats.add(fn.slot, 'response_bytes', outcome.response.body.byteLength)
      return response
    } catch (thrown) {
      const error = toEdgefnError(thrown)
      settle?.(error.code)
      if (error.code === 'bad_request') throw error
      stats.addError(fn.slot, error.code)
      if (error.fault !== 'client' && !REFUSALS.has(error.code))
        deps.callLog.failure(fn, requestId, error, outcome)
      return errorResponse(error, requestId)
    } finally {
      release?.()
      stats.add(fn.slot, 'in_flight', -1)
    }
  }

  async function guestCall(routed: Routed): Promise<GuestRequest> {
    const { request, connection, requestId, head, route, fn } = routed
    // Read before the body: afterwards the client may be gone.
    const peer = connection.peer()
    const body = await readBody(request, {
      bytesMax: deps.bodyBytesMax,
      renew: () => connection.patience(deps.idleSeconds),
    })
    const { serverPort } = connection
    return guestRequest({
      requestId,
      head,
      headers: request.headers,
      body,
      peer,
      serverPort,
      route,
      admittedMs: deps.nowMs(),
      logMessagesMax: deps.callLog.linesLeft(fn),
    })
  }

  /** Runs the call, with a module that is fetched first when it is missing, and once again when its file is damaged. */
  async function invoke(routed: Routed, call: GuestRequest): Promise<Outcome> {
    const { fn, connection } = routed
    const longest = queueWaitMs(fn) + fn.max_execution_ms
    beSilentFor(connection, fn.path === null ? longest + deps.onDemand.waitMsMax : longest)
    try {
      const outcome = await attempt(routed, call, false)
      if (outcome.ok || outcome.code !== 'artifact_mismatch') return outcome
      beSilentFor(connection, longest + deps.onDemand.waitMsMax)
      const second = await attempt(routed, call, true)
      if (second.ok || second.code !== 'artifact_mismatch') return second
      return { ...second, code: 'function_unavailable' }
    } finally {
      connection.patience(deps.idleSeconds)
    }
  }

  async function attempt({ fn, request }: Routed, call: GuestRequest, damaged: boolean) {
    const missing = damaged || fn.path === null
    const ready = missing ? await deps.onDemand.fetch(fn, damaged) : fn
    const admitted = missing ? { ...call, admitted_ms: deps.nowMs() } : call
    const startedAt = performance.now()
    const outcome = await deps.invoker.invoke(ready, admitted, () => request.signal)
    if (!outcome.ok && outcome.code === 'artifact_mismatch') return outcome
    stats.observe(fn.slot, (performance.now() - startedAt) / 1000)
    stats.add(fn.slot, missing ? 'cache_misses' : 'cache_hits', 1)
    if (outcome.cold) stats.add(fn.slot, 'cold_starts', 1)
    return outcome
  }

  return handle
}

/** Lets a connection be silent while its request is worked on. Bun's timeouts may fire up to 4 s early. */
function beSilentFor(connection: Connection, ms: number): void {
  const seconds = Math.ceil(ms / 1000) + 5
  connection.patience(seconds <= idleSecondsMax ? seconds : 0)
}

function notServed(): EdgefnError {
  return new EdgefnError('function_unavailable', 'The routed function is not on this node.')
}
