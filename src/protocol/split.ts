/** Traffic split between versions of a function on every node: which share of the users each version gets, and who is a user. */

import { z } from 'zod'

import { versionSchema } from './ids.ts'
import { LIMITS } from './limits.ts'

const headerNameSchema = z
  .string()
  .max(LIMITS.stickyNameCharsMax)
  .transform((name) => name.toLowerCase())
  .pipe(z.string().regex(/^[a-z0-9!#$%&'*+.^_`|~-]+$/, 'must be the name of a header field'))

const cookieNameSchema = z
  .string()
  .max(LIMITS.stickyNameCharsMax)
  .regex(/^[\w!#$%&'*+.^`|~-]+$/, 'must be the name of a cookie')

/**
 * What makes a user, who gets the same version each time: the client's address, or the value of a header field or cookie. A
 * request that lacks the field or the cookie is told apart by its client's address.
 */
export const stickySchema = z.union(
  [
    z.literal('client'),
    z.strictObject({ header: headerNameSchema }),
    z.strictObject({ cookie: cookieNameSchema }),
  ],
  { error: 'must be "client", {"header": NAME} or {"cookie": NAME}' },
)
export type Sticky = z.infer<typeof stickySchema>

/** Percent of the users. */
export const weightSchema = z.int().min(1).max(99)

export const versionWeightSchema = z.strictObject({
  version: versionSchema,
  weight: weightSchema,
})
export type VersionWeight = z.infer<typeof versionWeightSchema>

/** Versions of one function and their shares. */
export const versionWeightsSchema = z
  .array(versionWeightSchema)
  .min(2, 'must have at least two versions')
  .max(LIMITS.splitVersionsMax, `must have at most ${LIMITS.splitVersionsMax} versions`)
  .refine(
    (versions) => versions.reduce((sum, { weight }) => sum + weight, 0) === 100,
    'must have weights that sum to 100',
  )
  .refine(
    (versions) => new Set(versions.map(({ version }) => version)).size === versions.length,
    'must name each version once',
  )

/** A split as it is recorded and shown; versions in ascending order. */
export const splitViewSchema = z.strictObject({
  sticky: stickySchema,
  versions: z.array(versionWeightSchema),
})
export type SplitView = z.infer<typeof splitViewSchema>

/** The version that stands for a split where there is room for one: the heaviest, of equals the oldest. */
export function mainVersion(versions: readonly VersionWeight[]): number {
  const heaviest = [...versions].sort((a, b) => b.weight - a.weight || a.version - b.version)[0]
  if (heaviest === undefined) throw new Error('A split has no versions.')
  return heaviest.version
}
