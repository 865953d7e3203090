/** The request that a guest gets, from what is known of its call. */

import type { Route } from '../../../protocol/manifest.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestRequest } from '../call.ts'
import { guestHeaderLines } from './request.ts'
import type { Peer } from './request.ts'
import type { Call } from './serve.ts'

/**
 * The request that a guest gets, while it is answered on this thread: what few guests want to know is found out when they
 * do. Bun does not say whether a request came by HTTP/2, so the protocol is always given as HTTP/1.1, which both speak for.
 */
export class IncomingRequest implements GuestRequest {
  readonly request_id: string
  readonly method: string
  readonly target: string
  readonly header_lines: string
  readonly body: Uint8Array<ArrayBuffer>
  readonly scheme = 'http'
  readonly protocol = 'HTTP/1.1'
  readonly admitted_ms: number
  readonly #call: Call
  readonly #linesLeft: (fn: WorkerFunction) => number
  #peer: Peer | null | undefined
  #logMessagesMax = -1

  /** `linesLeft` is asked when the guest logs, the connection for its peer when that is not given. */
  constructor(
    call: Call,
    body: Uint8Array<ArrayBuffer>,
    admittedMs: number,
    linesLeft: (fn: WorkerFunction) => number,
    peer?: Peer | null,
  ) {
    const { head, requestId } = call
    this.request_id = requestId
    this.method = head.method
    this.target = head.target
    this.header_lines = guestHeaderLines(call.record, requestId, body.byteLength)
    this.body = body
    this.admitted_ms = admittedMs
    this.#call = call
    this.#linesLeft = linesLeft
    this.#peer = peer
  }

  get server_name(): string {
    return this.#call.head.host
  }

  get server_port(): number {
    return this.#call.connection.serverPort
  }

  get route_path(): string {
    return this.#call.route.path
  }

  get route_type(): Route['path_type'] {
    return this.#call.route.path_type
  }

  get remote_address(): string {
    return this.#client?.address ?? ''
  }

  get remote_port(): number {
    return this.#client?.port ?? 0
  }

  get log_messages_max(): number {
    if (this.#logMessagesMax < 0) this.#logMessagesMax = this.#linesLeft(this.#call.fn)
    return this.#logMessagesMax
  }

  /** The same as plain data, for another thread. */
  plain(): GuestRequest {
    return {
      request_id: this.request_id,
      method: this.method,
      target: this.target,
      header_lines: this.header_lines,
      body: this.body,
      remote_address: this.remote_address,
      remote_port: this.remote_port,
      server_name: this.server_name,
      server_port: this.server_port,
      scheme: this.scheme,
      protocol: this.protocol,
      route_path: this.route_path,
      route_type: this.route_type,
      admitted_ms: this.admitted_ms,
      log_messages_max: this.log_messages_max,
    }
  }

  get #client(): Peer | null {
    if (this.#peer === undefined) this.#peer = this.#call.connection.peer()
    return this.#peer
  }
}
