/** The ABI of Wasm Workers Server: a WASI command that reads its request as JSON and answers in JSON. */

import { z } from 'zod'

import { EdgefnError, errorMessage } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestRequest, GuestResponse } from '../call.ts'
import { headerFields } from '../header-lines.ts'
import { parseGuestJson } from '../guest-json.ts'
import type { CallContext } from '../host/context.ts'
import { inStore } from '../host/kv/functions.ts'
import { KvUnavailable } from '../host/kv/open-stores.ts'
import { checkFieldBytes, fieldOf, invalid, responseOf } from './cgi.ts'
import { timeout } from './guest-call.ts'
import type { Invocation } from './invocation.ts'
import { runCommand } from './wagi-abi.ts'

const encoder = new TextEncoder()
const EMPTY = new Uint8Array(0)
/** A body that is not text comes as no body, since JSON could not hold it: so does the server that the ABI is of. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** All that a worker keeps, under one key of the function's: it comes and goes as a whole. */
const KV_KEY = encoder.encode('wws.kv')
const kvSchema = z.record(z.string(), z.string())
type Kv = z.infer<typeof kvSchema>

const answerSchema = z.object({
  data: z.string(),
  status: z.int().min(200).max(599),
  headers: z.record(z.string(), z.string()).default({}),
  base64: z.boolean().default(false),
  kv: kvSchema.default({}),
})
type Answer = z.infer<typeof answerSchema>

/** Runs the command once. Throws EdgefnError: a trap, an exit code above 0, the time limit, an answer that is none. */
export function runWws(invocation: Invocation, fn: WorkerFunction): GuestResponse {
  const { context } = invocation
  const kv = readKv(invocation)
  context.stdin = encoder.encode(requestText(context.request, kv))
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
  const response = responseOf(answer.status, fields, body)
  writeKv(invocation, kv, answer.kv)
  return response
}

function requestText(request: GuestRequest, kv: Kv): string {
  const headers = new Map<string, string>()
  for (const [name, value] of headerFields(request.header_lines)) {
    const before = headers.get(name)
    headers.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  const host = headers.get('host') ?? request.server_name
  return JSON.stringify({
    url: `${request.scheme}://${host}${request.target}`,
    method: request.method,
    headers: Object.fromEntries(headers),
    body: bodyText(request.body),
    kv,
    params: {},
  })
}

/** What the worker's last answers have left; most workers leave nothing, and cost no look into a store. */
function readKv({ context, engine }: Invocation): Kv {
  if (!engine.host.kv.has(context.fn.function_id)) return {}
  const value = atStore(context, () =>
    inStore(context, engine.host, (store, nowMs) => store.get(KV_KEY, nowMs) ?? EMPTY),
  )
  try {
    return kvSchema.parse(parseGuestJson(value))
  } catch {
    // Nothing, or what a version of another ABI has written there.
    return {}
  }
}

/** Replaces it by what the worker says now, as its server does. Throws `function_error` when there is no room for it. */
function writeKv({ context, engine }: Invocation, before: Kv, now: Kv): void {
  const text = JSON.stringify(now)
  if (text === JSON.stringify(before)) return
  const value = encoder.encode(text)
  const stored =
    value.length <= LIMITS.kvValueBytesMax &&
    !engine.host.kv.diskFull &&
    atStore(context, () =>
      inStore(context, engine.host, (store, nowMs, late) =>
        store.put(KV_KEY, value, null, nowMs, late),
      ),
    )
  if (stored) return
  const message = `The worker's kv of ${value.length} bytes cannot be stored.`
  throw new EdgefnError('function_error', message)
}

/** Does something with the store; as an error of the call what keeps it from being done. */
function atStore<T>(context: CallContext, work: () => T | null): T {
  let result: T | null
  try {
    result = work()
  } catch (thrown) {
    if (!(thrown instanceof KvUnavailable)) throw thrown
    throw new EdgefnError('function_error', "The worker's kv cannot be used now.", {
      cause: thrown,
    })
  }
  if (result === null) throw timeout(context)
  return result
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
    value = parseGuestJson(output)
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
