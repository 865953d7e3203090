/** Schemas [C7.4]: numbered pieces of SQL that nodes apply to the database of a function, and what they report of it. */

import { z } from 'zod'

import { functionIdSchema, nodeIdSchema, sha256Schema, textSchema, uuidSchema } from './ids.ts'
import { LIMITS } from './limits.ts'
import { popsOrAllSchema } from './selector.ts'

export const schemaIdSchema = uuidSchema.brand<'SchemaId'>()
export type SchemaId = z.infer<typeof schemaIdSchema>

/** Counts from 1 within a function. */
export const schemaNumberSchema = z.int().min(1).max(LIMITS.schemasPerFunctionMax)

const sqlSchema = z
  .string()
  .min(1, 'must not be empty')
  .refine(
    (sql) => new TextEncoder().encode(sql).length <= LIMITS.schemaSqlBytesMax,
    `must have at most ${LIMITS.schemaSqlBytesMax} bytes`,
  )
  .refine((sql) => !sql.includes('\0'), 'must have no zero bytes')

const labelSchema = textSchema(LIMITS.schemaLabelCharsMax)

/** What is applied: the number gives the order, the digest says whether it is the same text. */
export const schemaBodySchema = z.strictObject({
  number: schemaNumberSchema,
  sha256: sha256Schema,
  sql: sqlSchema,
})
export type SchemaBody = z.infer<typeof schemaBodySchema>

/** A schema as a plan carries it. */
export const planSchemaSchema = schemaBodySchema.extend({ function_id: functionIdSchema })
export type PlanSchema = z.infer<typeof planSchemaSchema>

/** What became of a schema on a node; the message is SQLite's. */
export const schemaResultSchema = z.strictObject({
  function_id: functionIdSchema,
  number: schemaNumberSchema,
  state: z.enum(['applied', 'failed']),
  error: z
    .strictObject({ code: z.string().min(1).max(100), message: z.string().max(2000) })
    .nullable(),
})
export type SchemaResult = z.infer<typeof schemaResultSchema>

/** Body of `POST /api/v1/schemas`. */
export const schemaCreationSchema = z.strictObject({
  /** The function's name or id. */
  function: z.string().min(1).max(63),
  sql: sqlSchema,
  label: labelSchema.default(''),
  /** POPs whose nodes get it; null: all. */
  pop_selector: popsOrAllSchema.default(null),
})
export type SchemaCreation = z.infer<typeof schemaCreationSchema>

/** A schema in lists, which leave its text out. */
export const schemaSummarySchema = z.strictObject({
  id: schemaIdSchema,
  function_id: functionIdSchema,
  function_name: z.string(),
  number: schemaNumberSchema,
  label: z.string(),
  sha256: sha256Schema,
  size_bytes: z.int(),
  pop_selector: z.string().nullable(),
  created_by: z.string(),
  created_at: z.string(),
})
export type SchemaSummary = z.infer<typeof schemaSummarySchema>

/** `pending`: the node has not said yet. */
const schemaOnNodeSchema = z.strictObject({
  node_id: nodeIdSchema,
  pop_id: z.string(),
  state: z.enum(['pending', 'applied', 'failed']),
  error_code: z.string().nullable(),
  error_message: z.string().nullable(),
  updated_at: z.string().nullable(),
})
export type SchemaOnNode = z.infer<typeof schemaOnNodeSchema>

/** Answer to `GET /api/v1/schemas/:id`. */
export const schemaViewSchema = schemaSummarySchema.extend({
  sql: z.string(),
  nodes: z.array(schemaOnNodeSchema),
})
export type SchemaView = z.infer<typeof schemaViewSchema>
