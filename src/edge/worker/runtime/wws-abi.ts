/** The ABI of Wasm Workers Server: a WASI command that reads its request as JSON and answers in JSON. */

import { EdgefnError, errorMessage } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { GuestRequest, GuestResponse } from '../call.ts'
import { headerFields } from '../header-lines.ts'
import { isTextRecord, membersOf, parseGuestJson } from '../guest-json.ts'
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
type Kv = Readonly<Record<string, string>>

interface Answer {
  readonly data: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly base64: boolean
  readonly kv: Kv
}

/** Runs the command once. Throws EdgefnError: a trap, an exit code above 0, the time limit, an answer that is none. */
export function runWws(invocation: Invocation): GuestResponse {
  const { context } = invocation
  const kv = readKv(invocation)
  context.stdin = encoder.encode(requestText(context.request, kv))
  runCommand(invocation, '_start')
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
    const kept = parseGuestJson(value)
    if (isTextRecord(kept)) return kept
  } catch {
    // There is nothing.
  }
  // Or what a version of another ABI has written there.
  return {}
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
  let members: Readonly<Record<string, unknown>>
  try {
    members = membersOf(parseGuestJson(output))
  } catch (thrown) {
    throw invalid(`The function did not answer with an object in JSON: ${errorMessage(thrown)}.`)
  }
  const { data, status, headers = {}, base64 = false, kv = {} } = members
  if (typeof data !== 'string') throw otherForm('data must be text')
  if (!isStatus(status)) throw otherForm('status must be an integer from 200 to 599')
  if (!isTextRecord(headers)) throw otherForm('headers must be an object of texts')
  if (typeof base64 !== 'boolean') throw otherForm('base64 must be true or false')
  if (!isTextRecord(kv)) throw otherForm('kv must be an object of texts')
  return { data, status, headers, base64, kv }
}

function isStatus(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 200 && value <= 599
}

function otherForm(what: string): EdgefnError {
  return invalid(`The function answered in JSON of another form: ${what}.`)
}

function readBody({ data, base64 }: Answer): Uint8Array<ArrayBuffer> {
  if (!base64) return encoder.encode(data)
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(data) || data.length % 4 !== 0) {
    throw invalid('The function said that its data is base64, and it is not.')
  }
  return new Uint8Array(Buffer.from(data, 'base64'))
}
