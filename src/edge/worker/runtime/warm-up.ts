/** The request that instances are made ready under before there is one. */

import { LIMITS } from '../../../protocol/limits.ts'
import type { GuestRequest } from '../call.ts'

/** No client sent it, and its answer goes to nobody. */
export const WARM_UP: GuestRequest = {
  request_id: 'warm-up',
  method: 'GET',
  target: '/',
  header_lines: '',
  body: new Uint8Array(0),
  remote_address: '',
  remote_port: 0,
  server_name: '',
  server_port: 0,
  scheme: 'http',
  protocol: 'HTTP/1.1',
  route_path: '/',
  route_type: 'exact',
  admitted_ms: Number.POSITIVE_INFINITY,
  log_messages_max: LIMITS.logMessagesPerSecondMax,
}
