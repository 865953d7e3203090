/** Queries of the schemas API, and the rows behind it. */

import { z } from 'zod'

import { pageQuerySchema } from '../../protocol/api.ts'
import type { FunctionId, Sha256 } from '../../protocol/ids.ts'
import { schemaIdSchema, type SchemaId } from '../../protocol/schemas.ts'

export const schemaParams = z.strictObject({ id: schemaIdSchema })

export const schemaQuery = pageQuerySchema.extend({
  cursor: schemaIdSchema.optional(),
  /** A function's id or name. */
  function: z.string().min(1).max(63).optional(),
})
export type SchemaQuery = z.infer<typeof schemaQuery>

/** A row without its text. */
export interface SchemaRow {
  readonly id: SchemaId
  readonly function_id: FunctionId
  readonly function_name: string
  readonly number: number
  readonly label: string
  readonly sha256: Sha256
  readonly size_bytes: number
  readonly pop_selector: string | null
  readonly created_by: string
  readonly created_at: string
}
