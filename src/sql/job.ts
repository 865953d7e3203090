/** The work of a schema process, and what it says of it: sent through its stdin and stdout, a line of JSON each. */

import { z } from 'zod'

import { LIMITS } from '../protocol/limits.ts'
import { schemaBodySchema } from '../protocol/schemas.ts'

/** Schemas of one function in the order of their numbers. */
export const sqlJobSchema = z.strictObject({
  /** The database's file, made when it is missing; null tries the schemas on an empty one in memory. */
  path: z.string().nullable(),
  schemas: z.array(schemaBodySchema).max(LIMITS.schemasPerFunctionMax),
  /** Milliseconds that one schema may take. */
  schema_ms_max: z.int().min(1),
})
export type SqlJob = z.infer<typeof sqlJobSchema>

/** What became of one of them; after a failure there are no more. */
export const sqlAnswerSchema = z.strictObject({
  number: z.int(),
  error: z.strictObject({ code: z.string(), message: z.string() }).nullable(),
})
export type SqlAnswer = z.infer<typeof sqlAnswerSchema>

/** The command line of a schema process. */
export type SqlCommand = () => string[]
