/** Arguments and environment of a guest: the CGI variables for WAGI (RFC 3875 section 4.1), the version's own for all ABIs. */

import { VERSION } from '../../../../version.ts'
import type { GuestRequest } from '../../call.ts'
import { headerField, headerFields } from '../../header-lines.ts'
import type { CallContext } from '../context.ts'

/** WAGI: the script's name and then the query's pieces, as CGI's command line has them; others: the function's name. */
export function programArguments(context: CallContext): readonly string[] {
  if (context.fn.abi !== 'wagi') return [context.fn.name]
  const { path, query } = splitTarget(context.request.target)
  const pieces = query === '' ? [] : query.split('&')
  return [path, ...pieces].map((text) => text.replaceAll('\0', ''))
}

/** The environment, the version's own variables last so that they win; never with a zero byte. */
export function programEnvironment(context: CallContext): readonly (readonly [string, string])[] {
  const own = Object.entries(context.fn.env)
  const all = context.fn.abi === 'wagi' ? [...cgiVariables(context), ...own] : own
  return [...new Map(all.map(([name, value]) => [name, value.replaceAll('\0', '')]))]
}

/** Path and query of a request's target. */
export function splitTarget(target: string): { path: string; query: string } {
  const mark = target.indexOf('?')
  return mark < 0
    ? { path: target, query: '' }
    : { path: target.slice(0, mark), query: target.slice(mark + 1) }
}

/** Decodes percent-escapes; a path that is not valid UTF-8 then stays as it is. */
function decodePath(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

/** What the route matched and what came after it: SCRIPT_NAME and PATH_INFO. */
export function splitPath(request: GuestRequest, path: string): { script: string; info: string } {
  const { route_path: route, route_type: type } = request
  if (type !== 'prefix')
    return { script: type === 'exact' ? path : '', info: type === 'exact' ? '' : path }
  const script = route.endsWith('/') ? route.slice(0, -1) : route
  return { script, info: path.slice(script.length) }
}

function cgiVariables(context: CallContext): [string, string][] {
  const { request } = context
  const { path, query } = splitTarget(request.target)
  const { script, info } = splitPath(request, path)
  const header = (name: string) => headerField(request.header_lines, name) ?? ''
  // HTTP/1.0 needs no Host.
  const host = header('host') || request.server_name
  const variables: [string, string][] = [
    ['AUTH_TYPE', ''],
    // WAGI promises a number even where there is no body, and commands read it as one.
    ['CONTENT_LENGTH', String(request.body.length)],
    ['CONTENT_TYPE', header('content-type')],
    ['GATEWAY_INTERFACE', 'CGI/1.1'],
    ['PATH_INFO', decodePath(info)],
    ['PATH_TRANSLATED', decodePath(info)],
    ['QUERY_STRING', query],
    ['REMOTE_ADDR', request.remote_address],
    ['REMOTE_HOST', request.remote_address],
    ['REMOTE_PORT', String(request.remote_port)],
    ['REMOTE_USER', ''],
    ['REQUEST_METHOD', request.method],
    ['REQUEST_URI', request.target],
    ['REQUEST_ID', request.request_id],
    ['SCRIPT_NAME', script],
    ['SERVER_NAME', request.server_name],
    ['SERVER_PORT', String(request.server_port)],
    ['SERVER_PROTOCOL', request.protocol],
    ['SERVER_SOFTWARE', `edgefn/${VERSION}`],
    ['X_FULL_URL', `${request.scheme}://${host}${request.target}`],
    ['X_MATCHED_ROUTE', matchedRoute(request)],
    ['X_RAW_PATH_INFO', info],
    // What the `...` of the matched route stands for.
    ['X_RELATIVE_PATH', request.route_type === 'prefix' ? info.replace(/^\//, '') : ''],
  ]
  for (const [name, value] of headerFields(request.header_lines)) {
    // RFC 3875 section 4.1.18. HTTP_PROXY would be taken for the proxy of the guest's own client (httpoxy).
    if (name === 'content-type' || name === 'content-length' || name === 'proxy') continue
    // X_Forwarded_For would take the place of X-Forwarded-For, which a proxy has set.
    if (name.includes('_')) continue
    variables.push([`HTTP_${name.toUpperCase().replaceAll('-', '_')}`, value])
  }
  return variables
}

/** The route as WAGI and Spin write it, a prefix with dots: `/api/...`. */
export function matchedRoute({ route_path: path, route_type: type }: GuestRequest): string {
  if (type !== 'prefix') return path
  return path.endsWith('/') ? `${path}...` : `${path}/...`
}
