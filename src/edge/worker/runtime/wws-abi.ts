/** The ABI of Wasm Workers Server: a WASI command that reads its request as JSON and answers in JSON. */

import { z } from 'zod'

import { errorMessage } from '../../../errors.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestRequest, GuestResponse } from '../call.ts'
import { checkFieldBytes, fieldOf, invalid, responseOf } from './cgi.ts'
import type { Invocation } from './invocation.ts'
import { runCommand } from './wagi-abi.ts'

const encoder = new TextEncoder()
/** A body that is not text comes as no body, since JSON could not hold it: so does the server that the ABI is of. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** `kv` comes back as well; it holds nothing here, so what it says now is of no consequence. */
const answerSchema = z.object({
  data: z.string(),
  status: z.int().min(200).max(599),
  headers: z.record(z.string(), z.string()).default({}),
  base64: z.boolean().default(false),
})
type Answer = z.infer<typeof answerSchema>

/** Runs the command once. Throws EdgefnError: a trap, an exit code above 0, the time limit, an answer that is none. */
export function runWws(invocation: Invocation, fn: WorkerFunction): GuestResponse {
  const { context } = invocation
  context.stdin = encoder.encode(requestText(context.request))
  runCommand(invocation, fn, '_start')
  const answer = readAnswer(context.takeOutput())
  const fields = Object.entries(answer.headers).map(([name, value]) =>
    // Its JavaScript kit writes the names of fields as names of variables.
    fieldOf(encoder.encode(name.replaceAll('_', '-')), encoder.encode(value)),
  )
  checkFieldBytes(fields.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0))
  const body = readBody(answer)
  if (body.length > 0 && !fields.some(([name]) => name === 'content-type')) {
    fields.push(['content-type', 'text/html'])
  }
  return responseOf(answer.status, fields, body)
}

function requestText(request: GuestRequest): string {
  const headers = new Map<string, string>()
  for (const [name, value] of request.headers) {
    const before = headers.get(name)
    headers.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  const host = headers.get('host') ?? request.server_name
  return JSON.stringify({
    url: `${request.scheme}://${host}${request.target}`,
    method: request.method,
    headers: Object.fromEntries(headers),
    body: bodyText(request.body),
    kv: {},
    params: {},
  })
}

function bodyText(body: Uint8Array): string {
  try {
    return decoder.decode(body)
  } catch {
    return ''
  }
}

function readAnswer(output: Uint8Array): Answer {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(output).toString('utf8'))
  } catch (thrown) {
    throw invalid(`The function did not answer in JSON: ${errorMessage(thrown)}.`)
  }
  const parsed = answerSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const where = issue?.path.join('.') || 'it'
  throw invalid(`The function answered in JSON of another form: ${where}: ${issue?.message ?? ''}.`)
}

function readBody({ data, base64 }: Answer): Uint8Array<ArrayBuffer> {
  if (!base64) return encoder.encode(data)
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(data) || data.length % 4 !== 0) {
    throw invalid('The function said that its data is base64, and it is not.')
  }
  return new Uint8Array(Buffer.from(data, 'base64'))
}
