/**
 * One endpoint of the REST API: its path, who may call it, the schemas of what goes in and comes out, and the function
 * that does it. `api.ts` mounts endpoints and generates `/openapi.json` from the same schemas; slices only declare them.
 */

import type { z } from 'zod'

import type { RequestContext } from './context.ts'

/**
 * Who may call: a user with at least the role; `node` is the node named by the path's `:id` and nobody else; `node_or_viewer`
 * also admits users; `join_token` is the single-use bearer of a registration.
 */
export type Access = 'viewer' | 'developer' | 'owner' | 'node' | 'node_or_viewer' | 'join_token'

export interface EndpointInput<P, Q, B> {
  readonly params: P
  readonly query: Q
  readonly body: B
  readonly context: RequestContext
  /** A header field of the request; null when it has none of the name. */
  readonly header: (name: string) => string | null
}

export interface EndpointDefinition<
  P extends z.ZodType,
  Q extends z.ZodType,
  B extends z.ZodType,
  R extends z.ZodType,
> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Below `/api/v1`, hono syntax: `/functions/:id`. */
  readonly path: string
  readonly tag: string
  readonly summary: string
  readonly access: Access
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  /** Success status; 204 answers without a body. */
  readonly status: 200 | 201 | 202 | 204
  readonly response?: R
  /** Media type of an answer that is sent as it is made, instead of `response`. */
  readonly stream?: string
  handle(
    input: EndpointInput<z.output<P>, z.output<Q>, z.output<B>>,
  ): Promise<z.input<R> | ReadableStream<Uint8Array> | undefined>
}

/** An endpoint with its schemas forgotten, so that slices can return lists of them. */
export type Endpoint = EndpointDefinition<z.ZodType, z.ZodType, z.ZodType, z.ZodType>

/** Checks a definition against its own schemas at compile time. */
export function endpoint<
  P extends z.ZodType = z.ZodUndefined,
  Q extends z.ZodType = z.ZodUndefined,
  B extends z.ZodType = z.ZodUndefined,
  R extends z.ZodType = z.ZodUndefined,
>(definition: EndpointDefinition<P, Q, B, R>): Endpoint {
  return definition as unknown as Endpoint
}
