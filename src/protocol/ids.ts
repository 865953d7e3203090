/** The identifiers that travel between developer, control plane and edge, each with its schema and brand. */

import { z } from 'zod'

const DNS_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Ids that the control plane makes: UUIDv7, so they sort by creation. */
export const uuidSchema = z.string().regex(UUID, 'must be a lower-case UUID')

export const functionIdSchema = uuidSchema.brand<'FunctionId'>()
export type FunctionId = z.infer<typeof functionIdSchema>

export const routeIdSchema = uuidSchema.brand<'RouteId'>()
export type RouteId = z.infer<typeof routeIdSchema>

export const deploymentIdSchema = uuidSchema.brand<'DeploymentId'>()
export type DeploymentId = z.infer<typeof deploymentIdSchema>

/** A DNS label that is not a UUID, so that `:id` in a path may be an id or a name without doubt. */
export const functionNameSchema = z
  .string()
  .regex(DNS_LABEL, 'must be 1 to 63 characters of a-z, 0-9 and -, not starting or ending with -')
  .refine((name) => !UUID.test(name), 'must not look like a UUID')

/** Chosen by the operator or derived from the POP; part of MQTT topics, so no `/`, `+` or `#`. */
export const nodeIdSchema = z
  .string()
  .regex(DNS_LABEL, 'must be 1 to 63 characters of a-z, 0-9 and -, not starting or ending with -')
  .brand<'NodeId'>()
export type NodeId = z.infer<typeof nodeIdSchema>

export const popIdSchema = z
  .string()
  .max(50)
  .regex(DNS_LABEL, 'must be 1 to 50 characters of a-z, 0-9 and -, not starting or ending with -')
  .brand<'PopId'>()
export type PopId = z.infer<typeof popIdSchema>

/** Versions count from 1 within a function. */
export const versionMax = 2_147_483_647
export const versionSchema = z.int().min(1).max(versionMax)

/** SHA-256 in lower-case hexadecimal. */
export const sha256Schema = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in lower-case hexadecimal')
  .brand<'Sha256'>()
export type Sha256 = z.infer<typeof sha256Schema>

/** Positions in the stream of changes; 0 is before the first change. */
export const revisionSchema = z.int().min(0)

/** Text for people. No zero bytes: the database gives text back only up to the first. */
export function textSchema(charsMax: number) {
  return z
    .string()
    .max(charsMax)
    .regex(/^[^\0]*$/, 'must have no zero bytes')
}

/** RFC 3339 in UTC with milliseconds, as `Date.toISOString` writes it. */
export const timestampSchema = z.iso.datetime('must be a time in UTC such as 2026-01-31T00:00:00Z')
