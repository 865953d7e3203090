/** What a node's manifest says of a split. */

import type { Manifest } from '../../src/protocol/manifest.ts'
import type { VersionWeight } from '../../src/protocol/split.ts'

/** The versions of a split and their shares, in ascending order; null for a function that is not split. */
export function sharesOf(manifest: Manifest | null | undefined): VersionWeight[] | null {
  if (manifest?.split === undefined) return null
  const { version, split } = manifest
  const others = split.arms.map((arm) => ({ version: arm.function.version, weight: arm.weight }))
  return [{ version, weight: split.weight }, ...others].sort((a, b) => a.version - b.version)
}
