/** The public HTTP listener of a worker: HTTP/1.1 and HTTP/2 on one port that all workers of the node share. */

import { EdgefnError } from '../../../errors.ts'
import { errorResponse } from '../../../http/error-response.ts'
import { requestIdOf } from '../../../http/request-id.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { Handler } from './handle.ts'
import type { Connection, Peer } from './request.ts'

/** Seconds a connection may be idle, and a client may take for headers and for each part of a body; Bun may take 4 off. */
export const idleSeconds = 12

export interface IngressServer {
  readonly port: number
  /** Requests being answered. */
  running(): number
  /** Stops accepting and closes idle connections; resolves when the running requests are answered. */
  drain(): Promise<void>
  /** Closes everything at once. */
  abort(): void
}

export interface ServerOptions {
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
  readonly handle: Handler
  readonly log: Log
}

class BunConnection implements Connection {
  readonly serverPort: number
  readonly #request: Request
  readonly #bun: Bun.Server<undefined>

  constructor(serverPort: number, request: Request, bun: Bun.Server<undefined>) {
    this.serverPort = serverPort
    this.#request = request
    this.#bun = bun
  }

  peer(): Peer | null {
    return this.#bun.requestIP(this.#request)
  }

  patience(seconds: number): void {
    this.#bun.timeout(this.#request, seconds)
  }
}

/** Starts listening. Throws `invalid_config` when the address cannot be had. */
export function openServer({ host, port, handle, log }: ServerOptions): IngressServer {
  const server = listen()
  const serverPort = server.port ?? port

  function listen(): Bun.Server<undefined> {
    try {
      return Bun.serve({
        hostname: host,
        port,
        reusePort: true,
        http2: true,
        development: false,
        idleTimeout: idleSeconds,
        // Bun's own refusal has no body and comes too late for chunked ones: ingress/body.ts holds the limit.
        maxRequestBodySize: Number.MAX_SAFE_INTEGER,
        fetch: (request, bun) => handle(request, new BunConnection(serverPort, request, bun)),
        error: (thrown) => {
          const requestId = requestIdOf(null)
          log.failure('The request handler threw', thrown, { request_id: requestId })
          return errorResponse(thrown, requestId)
        },
      })
    } catch (cause) {
      throw new EdgefnError(
        'invalid_config',
        `Cannot listen on ${host}:${port}: ${cause instanceof Error ? cause.message : 'unknown'}`,
        { cause },
      )
    }
  }

  return {
    port: serverPort,
    running: () => server.pendingRequests,
    drain: () => server.stop(false),
    abort: () => void server.stop(true),
  }
}
