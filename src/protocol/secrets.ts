/** Secrets in the API: their names, numbers and users. A value goes in and is never shown again. */

import { z } from 'zod'

import { functionIdSchema, functionNameSchema, timestampSchema, uuidSchema } from './ids.ts'
import { LIMITS } from './limits.ts'

const NAME = /^[A-Za-z0-9][\w.-]{0,62}$/
const REFERENCE = /^([A-Za-z0-9][\w.-]{0,62})(?:@([1-9]\d{0,8}))?$/

export const secretNameSchema = z
  .string()
  .regex(NAME, 'must be 1 to 63 letters, digits, _, . and -, starting with a letter or digit')

/** `NAME` for the newest number at the registration, or `NAME@3`. */
export const secretReferenceSchema = z
  .string()
  .regex(REFERENCE, 'must be the name of a secret, or NAME@NUMBER')

/** The parts of a reference; no number: the newest. */
export function partsOfReference(reference: string): {
  readonly name: string
  readonly number: number | null
} {
  const [, name = '', number] = REFERENCE.exec(reference) ?? []
  return { name, number: number === undefined ? null : Number(number) }
}

/** What a variable of a version refers to. */
export const secretLinkSchema = z.strictObject({
  name: secretNameSchema,
  number: z.int().min(1),
  /** Whether the secret is one of the function's own, or for all. */
  scope: z.enum(['function', 'all']),
  /** Its values are gone: the version can no longer be deployed. */
  deleted: z.boolean(),
})
export type SecretLink = z.infer<typeof secretLinkSchema>

const functionReference = z.string().min(1).max(63)

/** `POST /secrets`: a new secret, or the next number of one with the same name and scope. */
export const secretPutSchema = z.strictObject({
  name: secretNameSchema,
  /** Id or name of the only function that may refer to it; absent: all may. */
  function: functionReference.optional(),
  value: z
    .string()
    .min(1)
    .max(LIMITS.variableValueCharsMax)
    .regex(/^[^\0]*$/, 'must have no zero bytes')
    .refine((value) => value.isWellFormed(), 'must be text that UTF-8 can hold'),
})
export type SecretPut = z.infer<typeof secretPutSchema>

export const secretUserSchema = z.strictObject({
  function_name: functionNameSchema,
  version: z.int(),
  variable: z.string(),
  number: z.int(),
  /** Nodes are to serve the version, or a deployment of the function is under way. */
  live: z.boolean(),
})

export const secretViewSchema = z.strictObject({
  id: uuidSchema,
  name: secretNameSchema,
  function_id: functionIdSchema.nullable(),
  function_name: functionNameSchema.nullable(),
  /** The newest. */
  number: z.int(),
  created_at: timestampSchema,
  updated_at: timestampSchema,
  /** Versions that refer to it, newest first; at most a hundred. */
  users: z.array(secretUserSchema),
})
export type SecretView = z.infer<typeof secretViewSchema>

export const secretQuerySchema = z.strictObject({
  function: functionReference.optional(),
  /** Deletes it although versions that are not live refer to it. */
  force: z.enum(['true', 'false']).default('false'),
})
