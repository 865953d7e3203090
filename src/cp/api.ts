/** The HTTP face of the control plane: mounts endpoints under `/api/v1`, beside the probes and the OpenAPI document. */

import { Hono, type Context } from 'hono'
import { z } from 'zod'

import { EdgefnError } from '../errors.ts'
import { readJsonBody } from '../http/body.ts'
import { errorResponse } from '../http/error-response.ts'
import { requestIdOf } from '../http/request-id.ts'
import { validate } from '../http/validate.ts'
import { LIMITS } from '../protocol/limits.ts'
import type { Log } from '../telemetry/log.ts'
import type { Caller } from './context.ts'
import type { Access, Endpoint } from './endpoint.ts'
import type { CpMetrics } from './metrics.ts'
import { buildOpenApi } from './openapi.ts'
import { runChecks, type Check } from './probes.ts'

export interface ApiDeps {
  readonly endpoints: readonly Endpoint[]
  readonly authenticate: (bearer: string | null) => Promise<Caller>
  readonly authorize: (
    caller: Caller,
    access: Access,
    params: Readonly<Record<string, string>>,
  ) => void
  readonly checks: Readonly<Record<string, Check>>
  /** Names of checks without which the control plane is ready all the same. */
  readonly advisory: readonly string[]
  readonly metrics: CpMetrics
  readonly log: Log
  readonly version: string
  readonly publicUrl: () => string
  /** Adds what is not an endpoint: presigned URLs. */
  readonly mount: (app: Hono) => void
}

/** Given by the server beside each request. */
export interface PeerAddress {
  readonly ip: string
}

const NOTHING = z.strictObject({})
/** Paths that `mountProbes` answers. */
const PROBES = ['/health', '/ready', '/metrics', '/openapi.json', '/api/v1/openapi.json']
/** Label of requests that match no endpoint. */
const unmatchedRoute = 'unmatched'

/** The whole application; `app.fetch(request, {ip})` answers. */
export function createApi(deps: ApiDeps): Hono {
  const app = new Hono({ strict: false })
  mountProbes(app, deps)
  deps.mount(app)
  for (const endpoint of deps.endpoints) {
    app.on(endpoint.method, `/api/v1${endpoint.path}`, (c) =>
      answer(deps, c, endpoint.path, (requestId) => serve(deps, c, endpoint, requestId)),
    )
  }
  mountRefusals(app, deps)
  return app
}

/** Answers and measures; what is thrown becomes the error body, and what is our own fault is logged, here only. */
async function answer(
  deps: ApiDeps,
  c: Context,
  route: string,
  handle: (requestId: string) => Promise<Response> | Response,
): Promise<Response> {
  const requestId = requestIdOf(c.req.header('x-request-id'))
  const started = performance.now()
  let response: Response
  try {
    response = await handle(requestId)
  } catch (thrown) {
    response = errorResponse(thrown, requestId)
    if (response.status >= 500) {
      deps.log.failure('A request failed.', thrown, {
        request_id: requestId,
        context: { method: c.req.method, route },
      })
    }
  }
  const seconds = (performance.now() - started) / 1000
  deps.metrics.observeRequest(c.req.method, route, response.status, seconds)
  return response
}

async function serve(
  deps: ApiDeps,
  c: Context,
  endpoint: Endpoint,
  requestId: string,
): Promise<Response> {
  const caller = await deps.authenticate(bearerOf(c.req.header('authorization')))
  const rawParams: Record<string, string> = c.req.param()
  deps.authorize(caller, endpoint.access, rawParams)
  const params = validate(endpoint.params ?? NOTHING, rawParams, 'path')
  const query = validate(endpoint.query ?? NOTHING, queryOf(c.req.url), 'query')
  const body =
    endpoint.body === undefined
      ? undefined
      : validate(endpoint.body, await readJsonBody(c.req.raw, LIMITS.apiBodyBytesMax), 'body')
  const context = { caller, request_id: requestId, ip: ipOf(c) }
  const header = (name: string) => c.req.header(name) ?? null
  const result = await endpoint.handle({ params, query, body, context, header })
  const headers = {
    'x-request-id': requestId,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  }
  if (result instanceof ReadableStream) {
    const streamed = { ...headers, 'content-type': endpoint.stream ?? 'application/octet-stream' }
    return new Response(result, { status: endpoint.status, headers: streamed })
  }
  if (endpoint.response === undefined)
    return new Response(null, { status: endpoint.status, headers })
  // What leaves is what was declared: nothing more, nothing less.
  return Response.json(endpoint.response.parse(result), { status: endpoint.status, headers })
}

function bearerOf(header: string | undefined): string | null {
  return /^Bearer +([^\s]+)$/i.exec(header ?? '')?.[1] ?? null
}

function queryOf(url: string): Record<string, string> {
  const entries = [...new URL(url).searchParams]
  const query = Object.fromEntries(entries)
  if (Object.keys(query).length === entries.length) return query
  throw new EdgefnError('bad_request', 'A parameter of the query is given more than once.')
}

function ipOf(c: Context): string {
  // The cast is the border: `env` is what main.ts hands to `app.fetch`; tests may hand nothing.
  return (c.env as Partial<PeerAddress> | undefined)?.ip ?? ''
}

function mountProbes(app: Hono, deps: ApiDeps): void {
  const document = () =>
    buildOpenApi(deps.endpoints, { version: deps.version, server_url: deps.publicUrl() })
  app.get('/health', (c) => c.json({ status: 'ok', version: deps.version }))
  app.get('/ready', async (c) => {
    const { ready, checks } = await runChecks(deps.checks, deps.advisory)
    return c.json({ status: ready ? 'ready' : 'unavailable', checks }, ready ? 200 : 503)
  })
  app.get('/metrics', (c) =>
    answer(deps, c, '/metrics', async () => {
      const { contentType, text } = await deps.metrics.render()
      return new Response(text, { headers: { 'content-type': contentType } })
    }),
  )
  app.get('/openapi.json', (c) => c.json(document()))
  app.get('/api/v1/openapi.json', (c) => c.json(document()))
}

/** 405 for a path that exists with other methods, 404 for the rest; both without asking who calls. */
function mountRefusals(app: Hono, deps: ApiDeps): void {
  const allowed = new Map(PROBES.map((path) => [path, 'GET']))
  for (const { path, method } of deps.endpoints) {
    const before = allowed.get(`/api/v1${path}`)
    allowed.set(`/api/v1${path}`, before === undefined ? method : `${before}, ${method}`)
  }
  for (const [path, allow] of allowed) {
    app.all(path, (c) =>
      answer(deps, c, path.replace('/api/v1', ''), (requestId) => {
        const error = new EdgefnError('method_not_allowed', `This path takes ${allow}.`)
        const response = errorResponse(error, requestId)
        response.headers.set('allow', allow)
        return response
      }),
    )
  }
  app.notFound((c) =>
    answer(deps, c, unmatchedRoute, () => {
      throw new EdgefnError('not_found', 'There is nothing at this path.')
    }),
  )
  app.onError((thrown, c) =>
    answer(deps, c, unmatchedRoute, () => {
      throw thrown
    }),
  )
}
