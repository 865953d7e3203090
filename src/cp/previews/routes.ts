/** HTTP of previews. */

import { z } from 'zod'

import { nodeIdSchema, versionSchema } from '../../protocol/ids.ts'
import { manifestSchema, type Manifest } from '../../protocol/manifest.ts'
import {
  previewCreationSchema,
  previewRequestSchema,
  previewViewSchema,
} from '../../protocol/preview.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import type { PreviewService } from './service.ts'

const versionParams = z.strictObject({
  /** A function's id or name. */
  id: z.string().min(1).max(63),
  version: z.coerce.number().pipe(versionSchema),
})

export function previewEndpoints(
  previews: PreviewService,
  /** Puts the values of secrets into a manifest; `secrets/reveal.ts`. */
  reveal: (manifest: Manifest) => Promise<Manifest>,
): Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/functions/:id/versions/:version/preview',
      tag: 'previews',
      summary: 'Make a token with which a version answers on every node, whatever traffic it has',
      access: 'developer',
      params: versionParams,
      body: previewCreationSchema,
      status: 201,
      response: previewViewSchema,
      handle: ({ params, body, context }) =>
        previews.create(context, params.id, params.version, body.ttl_seconds),
    }),
    endpoint({
      method: 'POST',
      path: '/nodes/:id/previews',
      tag: 'previews',
      summary: 'The manifest of the version that a preview token, shown to the node, allows',
      access: 'node',
      params: z.strictObject({ id: nodeIdSchema }),
      body: previewRequestSchema,
      status: 200,
      response: manifestSchema,
      handle: async ({ body }) => reveal(await previews.manifest(body.token)),
    }),
  ]
}
