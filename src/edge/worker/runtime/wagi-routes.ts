/** Routes that a WAGI module declares itself: what its `_routes` prints, a path and an export a line, the last that fits wins. */

import type { GuestRequest } from '../call.ts'
import { splitPath, splitTarget } from '../host/wasi/program.ts'
import { invalid } from './cgi.ts'

/** The export that prints them. */
export const ROUTES_EXPORT = '_routes'

const textBytesMax = 65_536
/** A prefix is written with dots: `/api/...`. */
const PREFIX_END = '/...'

/** What answers a request: an export, and the route as the module narrowed it. */
export interface DeclaredRoute {
  readonly entrypoint: string
  readonly request: GuestRequest
}

/** The declared route of a request; null when none fits, and `_start` answers. Throws `invalid_response`. */
export function declaredRoute(text: Uint8Array, request: GuestRequest): DeclaredRoute | null {
  if (text.length > textBytesMax) {
    throw invalid(`What ${ROUTES_EXPORT} printed is over ${textBytesMax} bytes.`)
  }
  const { script, info } = splitPath(request, splitTarget(request.target).path)
  let found: DeclaredRoute | null = null
  for (const line of Buffer.from(text).toString('utf8').split('\n')) {
    const [path, entrypoint, more] = line.trim().split(/\s+/)
    if (path === undefined || path === '') continue
    if (entrypoint === undefined || more !== undefined) {
      const shown = JSON.stringify(line.slice(0, 80))
      throw invalid(`${ROUTES_EXPORT} printed a line that is no path and export: ${shown}.`)
    }
    const isPrefix = path.endsWith(PREFIX_END)
    const own = isPrefix ? path.slice(0, -PREFIX_END.length) : path
    if (info !== own && !(isPrefix && info.startsWith(`${own}/`))) continue
    const route_type = isPrefix ? 'prefix' : 'exact'
    found = { entrypoint, request: { ...request, route_path: script + own, route_type } }
  }
  return found
}
