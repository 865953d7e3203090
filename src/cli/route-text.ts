/** Routes as one types them: `[HOST]/path` is that path alone, `[HOST]/path/*` it and everything below. */

import type { PathType } from '../protocol/manifest.ts'

export interface RouteText {
  readonly host: string
  readonly path: string
  readonly path_type: PathType
}

/** Reads `[HOST]/path[/*]`; without a host any. Throws an Error that says what the text must be. */
export function routeText(value: string): RouteText {
  const slash = value.indexOf('/')
  if (slash < 0) throw new Error('must be [HOST]/PATH or [HOST]/PATH/*')
  const host = slash === 0 ? '*' : value.slice(0, slash).toLowerCase()
  if (host.includes(':') && !host.startsWith('[')) {
    throw new Error('must have a host without scheme and port')
  }
  const path = value.slice(slash)
  const prefix = path.endsWith('/*')
  const bare = prefix ? path.slice(0, -2) || '/' : path
  if (/[*?#\s]/.test(bare)) {
    throw new Error('must have a path without *, ?, # or spaces (but for /* at its end)')
  }
  return { host, path: bare, path_type: prefix ? 'prefix' : 'exact' }
}

/** Reads `[HOST]/REGEX`: everything from the first slash is a regular expression over the whole path. */
export function regexRouteText(value: string): RouteText {
  const slash = value.indexOf('/')
  if (slash < 0) throw new Error('must be [HOST]/REGEX')
  const host = slash === 0 ? '*' : value.slice(0, slash).toLowerCase()
  return { host, path: value.slice(slash), path_type: 'regex' }
}

/** The text form of a route, for people. */
export function showRoute(route: RouteText): string {
  const host = route.host === '*' ? '' : route.host
  if (route.path_type === 'regex') return `${host} ~ ${route.path}`.trimStart()
  if (route.path_type === 'exact') return host + route.path
  return `${host}${route.path === '/' ? '' : route.path}/*`
}
