/** Does with the AssemblyScript package what the query asks for; sdk-c and sdk-rust do the same with theirs. */
import {
  env,
  Fetch,
  increment,
  kvDelete,
  kvGet,
  kvKeys,
  kvPut,
  log,
  LogLevel,
  onRequest,
  Request,
  requestHeader,
  requestId,
  Response,
} from 'edgefn'
export { alloc, handle } from 'edgefn'

function line(name: string, value: string | null): string {
  return name + '=' + (value === null ? '(none)' : value) + '\n'
}

function echo(request: Request): Response {
  return Response.text(
    line('method', request.method) +
      line('path', request.path) +
      line('q', request.queryValue('q')) +
      line('header', request.header('X-A')) +
      line('host_header', requestHeader('X-A')) +
      line('missing', requestHeader('x-missing')) +
      line('id', requestId()) +
      line('env', env('NAME')) +
      line('body', request.text),
  )
}

function get(key: string): Response {
  const value = kvGet(key)
  return value === null ? Response.text('-1', 404) : new Response(value)
}

function keys(prefix: string): Response {
  const found = kvKeys(prefix)
  if (found === null) return Response.text('failed')
  let lines = ''
  for (let i = 0; i < found.length; i++) lines += found[i] + '\n'
  return Response.text(lines)
}

function fetch(url: string, body: ArrayBuffer): Response {
  const request = new Fetch('POST', url).header('x-from', 'guest')
  request.body = body
  const fetched = request.send()
  return Response.text(
    line('status', fetched.status.toString()) +
      line('x-answer', fetched.header('X-Answer')) +
      line('body', fetched.text),
  )
}

function number(request: Request, name: string): i32 {
  const value = request.queryValue(name)
  return value === null || value.length == 0 ? 0 : i32(parseInt(value))
}

onRequest((request: Request) => {
  const op = request.queryValue('op')
  const given = request.queryValue('key')
  const key: string = given === null ? '' : given
  if (op == 'echo') return echo(request)
  if (op == 'big') {
    return Response.text('x'.repeat(number(request, 'n')), 201).header('x-big', 'yes')
  }
  if (op == 'header') return Response.text('').header('x-given', key)
  if (op == 'put') {
    return Response.text(kvPut(key, request.body, number(request, 'ttl')).toString())
  }
  if (op == 'get') return get(key)
  if (op == 'delete') return Response.text(kvDelete(key).toString())
  if (op == 'keys') return keys(key)
  if (op == 'count') {
    return Response.text(increment(key, request.text, number(request, 'value')).toString())
  }
  if (op == 'log') log(key, LogLevel.Warn)
  if (op == 'fetch') return fetch(key, request.body)
  return Response.text('')
})
