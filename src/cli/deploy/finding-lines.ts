/** What the comparison of a version with the one before found, for people. */

import type { Compatibility } from '../../protocol/compatibility.ts'

/** What was found and did not refuse the version, as lines. */
export function findingLines({ compared_with: before, findings }: Compatibility): string[] {
  return findings.map(({ severity, message }) => {
    const what = severity === 'warn' ? 'warning' : 'forced'
    return `${what}: compared with version ${before}, ${message}`
  })
}
