/** What a route's path may be; pure. */

import { EdgefnError } from '../../errors.ts'
import type { PathType } from '../../protocol/manifest.ts'

/** Throws `invalid_field` for a pattern that the nodes' engine does not take, with its `position`. */
export type ValidatePattern = (pattern: string) => void

/**
 * Checks a path against its type. Exact paths and prefixes must be written as a URL parser leaves them, because nodes
 * compare them with parsed paths; they are refused rather than rewritten, so that nothing surprises. Throws
 * `invalid_field` with the form that would be taken.
 */
export function checkPath(
  path: string,
  pathType: PathType,
  validatePattern: ValidatePattern,
): void {
  if (pathType === 'regex') return checkPattern(path, validatePattern)
  if (!path.startsWith('/')) throw refused(`must start with /, got ${JSON.stringify(path)}.`)
  if (/[?#]/.test(path)) {
    throw refused(
      `must have no ? and no #: routes match the path of a URL, got ${JSON.stringify(path)}.`,
    )
  }
  if (/%(?![0-9a-f]{2})/i.test(path)) {
    throw refused(
      `has a % that is not followed by two hexadecimal digits: ${JSON.stringify(path)}.`,
    )
  }
  const parsed = URL.parse(`http://host${path}`)
  if (parsed?.pathname === path) return
  throw refused(
    parsed === null
      ? `is not the path of a URL: ${JSON.stringify(path)}.`
      : `must be written as ${JSON.stringify(parsed.pathname)}, got ${JSON.stringify(path)}.`,
  )
}

function checkPattern(path: string, validatePattern: ValidatePattern): void {
  try {
    validatePattern(path)
  } catch (thrown) {
    if (!(thrown instanceof EdgefnError)) throw thrown
    const details = { ...thrown.details, field: 'path' }
    throw new EdgefnError('invalid_field', `Field path of the body: ${thrown.message}`, { details })
  }
}

function refused(what: string): EdgefnError {
  return new EdgefnError('invalid_field', `Field path of the body ${what}`, {
    details: { field: 'path' },
  })
}
