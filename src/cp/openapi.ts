/** The OpenAPI 3.1 document, made from the same schemas that validate; pure. */

import { z } from 'zod'

import { errorBodySchema } from '../protocol/api.ts'
import type { Access, Endpoint } from './endpoint.ts'

type Json = Record<string, unknown>

/** Errors that any endpoint with the trait may answer with, besides those of everyone. */
const ERRORS: readonly (readonly [number, string, (endpoint: Endpoint) => boolean])[] = [
  [400, 'A field of the path, the query or the body is not acceptable', () => true],
  [401, 'No credential, or one that is not valid', () => true],
  [403, 'The credential may not do this', () => true],
  [404, 'What the path or the body names does not exist', () => true],
  [409, 'The change collides with what is stored', (endpoint) => endpoint.method !== 'GET'],
  [413, 'The body is too large', (endpoint) => endpoint.body !== undefined],
  [500, 'An internal error', () => true],
  [503, 'Something edgefn stands on does not answer; try again', () => true],
]

const WHO: Record<Access, string> = {
  viewer: 'An API key of any role.',
  developer: 'An API key with the role developer or owner.',
  owner: 'An API key with the role owner.',
  node: 'The token of the node that the path names.',
  node_or_viewer: 'An API key of any role, or the token of the node that the path names.',
  join_token: 'A join token, which is used up.',
}

const STATUS_TEXT: Record<Endpoint['status'], string> = {
  200: 'Done',
  201: 'Created',
  202: 'Accepted; it goes on after the answer',
  204: 'Done, without a body',
}

/** `server_url` is where the API is reached, without `/api/v1`. */
export function buildOpenApi(
  endpoints: readonly Endpoint[],
  info: { readonly version: string; readonly server_url: string },
): Json {
  const paths: Record<string, Json> = {}
  for (const endpoint of endpoints) {
    const path = `/api/v1${endpoint.path.replace(/:(\w+)/g, '{$1}')}`
    paths[path] = { ...paths[path], [endpoint.method.toLowerCase()]: operation(endpoint) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'edgefn control plane',
      version: info.version,
      description: 'Functions, versions, routes, deployments and nodes of an edgefn installation.',
    },
    servers: [{ url: info.server_url }],
    tags: [...new Set(endpoints.map((endpoint) => endpoint.tag))].map((name) => ({ name })),
    paths: { ...paths, ...probes() },
    components: {
      schemas: { Error: jsonSchema(errorBodySchema, 'output') },
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API key (efk_…), a join token (efj_…) or the JWT of a node.',
        },
      },
    },
  }
}

function operation(endpoint: Endpoint): Json {
  return {
    operationId: operationId(endpoint),
    tags: [endpoint.tag],
    summary: endpoint.summary,
    description: WHO[endpoint.access],
    security: [{ bearer: [] }],
    parameters: [...parameters(endpoint.params, 'path'), ...parameters(endpoint.query, 'query')],
    ...(endpoint.body === undefined
      ? {}
      : {
          requestBody: { required: true, content: jsonContent(jsonSchema(endpoint.body, 'input')) },
        }),
    responses: { [endpoint.status]: success(endpoint), ...errors(endpoint) },
  }
}

/** `post_nodes_id_sync_ack`: stable, and unique because method and path are. */
function operationId(endpoint: Endpoint): string {
  const words = endpoint.path.replaceAll(/[^\w]+/g, '_').replace(/^_/, '')
  return `${endpoint.method.toLowerCase()}_${words.replaceAll('-', '_')}`
}

function parameters(schema: z.ZodType | undefined, where: 'path' | 'query'): Json[] {
  if (schema === undefined) return []
  const { properties, required } = jsonSchema(schema, 'input')
  const names = Array.isArray(required) ? (required as string[]) : []
  return Object.entries((properties ?? {}) as Record<string, Json>).map(([name, property]) => ({
    name,
    in: where,
    required: where === 'path' || names.includes(name),
    schema: property,
  }))
}

function success(endpoint: Endpoint): Json {
  const description = STATUS_TEXT[endpoint.status]
  if (endpoint.stream !== undefined) {
    return { description, content: { [endpoint.stream]: { schema: { type: 'string' } } } }
  }
  if (endpoint.response === undefined) return { description }
  return { description, content: jsonContent(jsonSchema(endpoint.response, 'output')) }
}

function errors(endpoint: Endpoint): Json {
  const content = jsonContent({ $ref: '#/components/schemas/Error' })
  const applying = ERRORS.filter(([, , applies]) => applies(endpoint))
  return Object.fromEntries(
    applying.map(([status, description]) => [status, { description, content }]),
  )
}

function jsonContent(schema: Json): Json {
  return { 'application/json': { schema } }
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return rest
}

/** The endpoints outside `/api/v1`, which need no credential. */
function probes(): Record<string, Json> {
  const probe = (operationId: string, summary: string, statuses: readonly number[]) => ({
    get: {
      operationId,
      tags: ['probes'],
      summary,
      security: [],
      responses: Object.fromEntries(statuses.map((status) => [status, { description: summary }])),
    },
  })
  return {
    '/health': probe('health', 'The process is alive', [200]),
    '/ready': probe('ready', 'Whether everything the control plane stands on answers', [200, 503]),
    '/metrics': probe('metrics', 'Metrics in the text format of Prometheus', [200]),
    '/openapi.json': probe('openapi', 'This document', [200]),
  }
}
