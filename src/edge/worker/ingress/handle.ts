/** The way of one request: identify → validate → match → serve (`serve.ts`). What concerns no function is counted and logged here. */

import { EdgefnError, toEdgefnError } from '../../../errors.ts'
import { errorResponse } from '../../../http/error-response.ts'
import { RequestIds } from '../../../http/request-id.ts'
import { HTTP_METHODS } from '../../../protocol/http-methods.ts'
import { PREVIEW_VERSION_FIELD } from '../../../protocol/preview.ts'
import type { Log } from '../../../telemetry/log.ts'
import { armKey, type SplitRow, type WorkerFunction } from '../../ipc.ts'
import type { Match } from '../router/router.ts'
import { discardBody } from './body.ts'
import { HostNames } from './host.ts'
import type { Connection, Identified, RequestHead } from './request.ts'
import { fieldIn, headerRecord, readHead } from './request.ts'
import { methodRefusal } from './respond.ts'
import { Call, createServe } from './serve.ts'
import type { ServeDeps } from './serve.ts'
import { createPreviewDoor } from './preview-door.ts'
import type { PreviewFlights } from './preview-flights.ts'
import { pointOf, seedOf, userOf, versionAt } from './sticky.ts'
import type { ServingTable } from './table.ts'

export interface HandlerDeps extends ServeDeps {
  /** The table in service at the moment of the call; a promise of it while there is none yet. */
  readonly table: () => ServingTable | Promise<ServingTable>
  readonly log: Log
  readonly previewFlights: PreviewFlights
  /** The control plane's Ed25519 key, which signs preview tokens: base64url of the raw 32 bytes. */
  readonly signingKey: string
}

/** Answers a request. Never throws or rejects. */
export type Handler = (request: Request, connection: Connection) => Response | Promise<Response>

export function createHandler(deps: HandlerDeps): Handler {
  const { stats, log, nowMs } = deps
  const hosts = new HostNames()
  const ids = new RequestIds()
  const serve = createServe(deps)
  const { previewFlights: flights, signingKey, table, idleSeconds } = deps
  const previews = createPreviewDoor({
    ...{ serve, flights, table, signingKey, idleSeconds, now: Date.now },
  })

  function handle(request: Request, connection: Connection): Response | Promise<Response> {
    const readMs = nowMs()
    stats.addWorker('requests', 1)
    const record = headerRecord(request)
    const requestId = ids.of(fieldIn(record, 'x-request-id'), readMs)
    const identified: Identified = {
      request,
      connection,
      requestId,
      record,
      readMs,
      functionId: undefined,
    }
    let response: Response | Promise<Response>
    try {
      const head = readHead(request, record, hosts)
      const table = deps.table()
      response =
        table instanceof Promise
          ? table.then((first) => answer(identified, head, first))
          : answer(identified, head, table)
    } catch (thrown) {
      response = refused(thrown, requestId)
    }
    if (response instanceof Response && request.body === null) {
      return log.writes('debug') ? logged(identified, response) : response
    }
    return settled(identified, response)
  }

  function answer(
    identified: Identified,
    head: RequestHead,
    table: ServingTable,
  ): Response | Promise<Response> {
    const suffix = table.preview_suffix
    if (suffix !== null && head.host.endsWith(suffix)) {
      const answered = previews.onHost(identified, head, table)
      if (answered !== null) return answered
    }
    const match = table.router.match(head.host, head.path, head.method)
    if (match.kind !== 'found') return unrouted(match, head, identified.requestId)
    const { route } = match
    identified.functionId = route.function_id
    if (identified.record[PREVIEW_VERSION_FIELD] !== undefined) {
      return previews.onRoute(identified, head, route, table)
    }
    const fn = table.functions.get(route.function_id)
    if (fn === undefined) throw notServed()
    const arm = fn.split === null ? fn : chooseArm(fn, fn.split, identified, table)
    return serve(new Call(identified, head, route, arm))
  }

  /** The response once it is there, and the request's body is read. */
  async function settled(
    identified: Identified,
    answered: Response | Promise<Response>,
  ): Promise<Response> {
    const { request, requestId } = identified
    let response: Response
    try {
      response = await answered
    } catch (thrown) {
      response = refused(thrown, requestId)
    }
    await discardBody(request)
    return logged(identified, response)
  }

  function logged(identified: Identified, response: Response): Response {
    if (!log.writes('debug')) return response
    const { request, requestId: request_id, readMs, functionId: function_id } = identified
    const { method } = request
    const context = { method, status: response.status, duration_ms: nowMs() - readMs }
    const fields = function_id === undefined ? { request_id } : { request_id, function_id }
    log.debug('Request answered', { ...fields, context })
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

  return handle
}

/** The version of a split that the request's user belongs to. */
function chooseArm(
  main: WorkerFunction,
  { sticky, arms }: SplitRow,
  { record, connection }: Identified,
  table: ServingTable,
): WorkerFunction {
  const { function_id } = main
  const point = pointOf(seedOf(function_id), userOf(sticky, record, connection))
  const version = versionAt(arms, point)
  if (version === main.version) return main
  const arm = table.functions.get(armKey({ function_id, version }))
  if (arm === undefined) throw notServed()
  return arm
}

function notServed(): EdgefnError {
  return new EdgefnError('function_unavailable', 'The routed function is not on this node.')
}
