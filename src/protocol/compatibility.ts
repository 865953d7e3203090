/** What the comparison of a version with the one before found, as the API shows it [C20]. */

import { z } from 'zod'

import { versionSchema } from './ids.ts'

/** `refuse`: the version is not taken unless it is forced; `warn`: it is taken, and this is told. */
export const compatibilityFindingSchema = z.strictObject({
  severity: z.enum(['refuse', 'warn']),
  aspect: z.enum(['abi', 'entrypoint', 'imports', 'memory', 'limits', 'environment', 'network']),
  message: z.string(),
})
export type CompatibilityFinding = z.infer<typeof compatibilityFindingSchema>

export const compatibilitySchema = z.strictObject({
  /** Null: there was no version before. */
  compared_with: versionSchema.nullable(),
  findings: z.array(compatibilityFindingSchema),
})
export type Compatibility = z.infer<typeof compatibilitySchema>
