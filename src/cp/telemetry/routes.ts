/** HTTP of telemetry: uploads of nodes, and metrics of functions and nodes [C8]. */

import { z } from 'zod'

import { nodeIdSchema } from '../../protocol/ids.ts'
import {
  functionMetricsQuerySchema,
  functionMetricsSchema,
  metricsQuerySchema,
  nodeMetricsSchema,
  telemetryAckSchema,
  telemetryUploadSchema,
} from '../../protocol/telemetry.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import type { Telemetry } from './service.ts'

const nodeParams = z.strictObject({ id: nodeIdSchema })
/** An id or a name. */
const functionParams = z.strictObject({ id: z.string().min(1).max(63) })

export function telemetryEndpoints(telemetry: Telemetry): Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/nodes/:id/telemetry',
      tag: 'telemetry',
      summary: 'Batches of telemetry in their order; answers the last one that is committed',
      access: 'node',
      params: nodeParams,
      body: telemetryUploadSchema,
      status: 200,
      response: telemetryAckSchema,
      handle: ({ params, body }) => telemetry.take(params.id, body),
    }),
    endpoint({
      method: 'GET',
      path: '/functions/:id/metrics',
      tag: 'telemetry',
      summary: 'Requests, errors and latencies of a function by version',
      access: 'viewer',
      params: functionParams,
      query: functionMetricsQuerySchema,
      status: 200,
      response: functionMetricsSchema,
      handle: ({ params, query }) => telemetry.functionMetrics(params.id, query),
    }),
    endpoint({
      method: 'GET',
      path: '/nodes/:id/metrics',
      tag: 'telemetry',
      summary: 'Load, memory, disk, cache and pools of a node',
      access: 'viewer',
      params: nodeParams,
      query: metricsQuerySchema,
      status: 200,
      response: nodeMetricsSchema,
      handle: ({ params, query }) => telemetry.nodeMetrics(params.id, query),
    }),
  ]
}
