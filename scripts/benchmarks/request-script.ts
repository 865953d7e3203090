/** Requests with headers and a body, for wrk and for `fetch` alike. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface BenchRequest {
  readonly method: 'GET' | 'POST'
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Writes the request as a Lua script for wrk, with its body in a file beside it. Returns the script's path. */
export function writeRequestScript(dir: string, name: string, request: BenchRequest): string {
  const body = join(dir, `${name}.body`)
  writeFileSync(body, request.body)
  const headers = Object.entries(request.headers).map(
    ([field, value]) => `wrk.headers[${lua(field)}] = ${lua(value)}`,
  )
  const lines = [
    `local file = assert(io.open(${lua(body)}, "rb"))`,
    'wrk.body = file:read("*a")',
    'file:close()',
    `wrk.method = ${lua(request.method)}`,
    ...headers,
  ]
  const script = join(dir, `${name}.lua`)
  writeFileSync(script, `${lines.join('\n')}\n`)
  return script
}

/** A text as Lua writes it; only characters that both languages escape alike are expected. */
function lua(text: string): string {
  return JSON.stringify(text)
}
