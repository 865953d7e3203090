/** `GET /functions/:id/versions/:version`: a version with what its module is and where it is live. */

import { z } from 'zod'

import { versionViewSchema } from './api.ts'
import { popIdSchema } from './ids.ts'

/** Where nodes should serve a version: by POP, because there may be thousands of nodes. */
export const versionLiveSchema = z.strictObject({
  pop_id: popIdSchema,
  /** Nodes that should serve it, and those of them that have said that they do. */
  nodes: z.int(),
  deployed: z.int(),
  /** Its share of the traffic there, in percent: 100 unless it is split. */
  weight: z.int(),
})

export const versionDetailSchema = versionViewSchema.extend({
  /** What the module asks of the host, as `module.name`; null before the upload. */
  imports: z.array(z.string()).nullable(),
  /** Names that the module exports; a long list is cut. */
  exports: z.array(z.string()).nullable(),
  /** Pages of 64 KiB that the module starts with. */
  memory_min: z.int().nullable(),
  live: z.array(versionLiveSchema),
})
export type VersionDetail = z.infer<typeof versionDetailSchema>
