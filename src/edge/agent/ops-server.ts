/** The operator's port of the node: /metrics, /health, /ready (SPEC 9) [C12.2]. */

import type { Address } from '../../config/modes.ts'
import { EdgefnError } from '../../errors.ts'
import type { AgentMetrics } from './metrics.ts'

export interface ReadyCheck {
  readonly name: string
  readonly ok: boolean
  /** Whether the node is ready only with this; the others are for information. */
  readonly required: boolean
  readonly detail: string
}

interface OpsServerDeps {
  readonly listen: Address
  /** Null until the node knows who it is. */
  metrics(): AgentMetrics | null
  checks(): ReadyCheck[]
}

export interface OpsServer {
  readonly port: number
  close(): Promise<void>
}

/** Listens. Throws `invalid_config` when the port is taken. */
export function openOpsServer(deps: OpsServerDeps): OpsServer {
  const { host, port } = deps.listen
  let server: Bun.Server<undefined>
  try {
    server = Bun.serve({
      hostname: host,
      port,
      development: false,
      // Said aloud, as in the control plane: otherwise the port is shared with whoever listens on it already.
      id: null,
      reusePort: false,
      fetch: (request) => respond(deps, request),
      error: () => new Response('internal error\n', { status: 500 }),
    })
  } catch (thrown) {
    throw new EdgefnError(
      'invalid_config',
      `metrics-listen ${host}:${port} cannot be used: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
      { cause: thrown },
    )
  }
  return {
    port: server.port ?? port,
    close: () => server.stop(true),
  }
}

async function respond(deps: OpsServerDeps, request: Request): Promise<Response> {
  const { pathname } = new URL(request.url)
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return new Response('method not allowed\n', { status: 405, headers: { allow: 'GET, HEAD' } })
  }
  switch (pathname) {
    case '/health':
      return Response.json({ status: 'ok' })
    case '/ready':
      return ready(deps.checks())
    case '/metrics': {
      const metrics = deps.metrics()
      if (metrics === null) return new Response('the node is starting\n', { status: 503 })
      const { contentType, text } = await metrics.render()
      return new Response(text, { headers: { 'content-type': contentType } })
    }
    default:
      return new Response('not found\n', { status: 404 })
  }
}

function ready(checks: readonly ReadyCheck[]): Response {
  const ok = checks.every((check) => check.ok || !check.required)
  const body = {
    status: ok ? 'ready' : 'not_ready',
    checks: Object.fromEntries(
      checks.map(({ name, ok, required, detail }) => [name, { ok, required, detail }]),
    ),
  }
  return Response.json(body, { status: ok ? 200 : 503 })
}
