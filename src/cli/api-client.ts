/** The REST API as the commands use it: bearer key, answers parsed with the protocol's schemas, errors with their code. */

import { z } from 'zod'

import { EdgefnError, errorMessage } from '../errors.ts'
import { errorBodySchema, pageSchema } from '../protocol/api.ts'
import { readAnswer } from '../protocol/lenient.ts'

/** How long one request may take before the control plane counts as unreachable. */
const requestMsMax = 30_000
const uploadMsMax = 10 * 60_000
const uploadChunkBytes = 256 * 1024

/** The control plane answered, and said no. */
export class ControlPlaneError extends Error {
  override readonly name = 'ControlPlaneError'
  readonly status: number
  readonly code: string
  readonly request_id: string | null

  constructor(status: number, code: string, message: string, requestId: string | null) {
    super(message)
    this.status = status
    this.code = code
    this.request_id = requestId
  }
}

export type Query = Readonly<Record<string, string | number | null>>

/** Every method throws `cp_unreachable` when nobody answers and ControlPlaneError when the answer is an error. */
export interface ApiClient {
  get<T>(path: string, schema: z.ZodType<T>, query?: Query): Promise<T>
  /** All items of a paged list. */
  list<T>(path: string, item: z.ZodType<T>, query?: Query): Promise<T[]>
  post<T>(path: string, schema: z.ZodType<T>, body?: unknown): Promise<T>
  put<T>(path: string, schema: z.ZodType<T>, body: unknown): Promise<T>
  delete(path: string): Promise<void>
  /** PUTs bytes to a presigned URL; `progress` hears of the bytes handed over so far. */
  upload(url: string, bytes: Uint8Array, progress: (sent: number) => void): Promise<void>
}

/** A client of the control plane at `base` (no trailing slash). */
export function createApiClient(base: string, key: string): ApiClient {
  const client: ApiClient = {
    get: (path, schema, query = {}) => call('GET', path + queryText(query), schema),
    post: (path, schema, body) => call('POST', path, schema, body),
    put: (path, schema, body) => call('PUT', path, schema, body),
    delete: async (path) => {
      await send(`${base}/api/v1${path}`, { method: 'DELETE', headers: authorization() })
    },
    list: listAll,
    upload: uploadTo,
  }
  return client

  function authorization(): Record<string, string> {
    return { authorization: `Bearer ${key}` }
  }

  async function call<T>(method: string, path: string, schema: z.ZodType<T>, body?: unknown) {
    const headers = { ...authorization(), 'content-type': 'application/json' }
    const init = body === undefined ? {} : { body: JSON.stringify(body) }
    const text = await send(`${base}/api/v1${path}`, { method, headers, ...init })
    return parseAnswer(`${method} ${path}`, text, schema)
  }

  async function listAll<T>(path: string, item: z.ZodType<T>, query: Query = {}): Promise<T[]> {
    const items: T[] = []
    let cursor: string | null = null
    do {
      const page: { items: T[]; next_cursor: string | null } = await client.get(
        path,
        pageSchema(item) as z.ZodType<{ items: T[]; next_cursor: string | null }>,
        { ...query, limit: 500, cursor },
      )
      items.push(...page.items)
      cursor = page.next_cursor
    } while (cursor !== null)
    return items
  }
}

async function uploadTo(url: string, bytes: Uint8Array, progress: (sent: number) => void) {
  let sent = 0
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const chunk = bytes.subarray(sent, sent + uploadChunkBytes)
      sent += chunk.byteLength
      controller.enqueue(chunk)
      progress(sent)
      if (sent >= bytes.byteLength) controller.close()
    },
  })
  // Stores that check signatures take no chunked bodies, so the length is given.
  const headers = {
    'content-type': 'application/wasm',
    'content-length': String(bytes.byteLength),
  }
  await send(url, { method: 'PUT', headers, body }, uploadMsMax)
}

async function send(url: string, init: RequestInit, msMax = requestMsMax): Promise<string> {
  let response: Response
  let text: string
  try {
    response = await fetch(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(msMax) })
    text = await response.text()
  } catch (error) {
    const message = `${new URL(url).origin} does not answer: ${errorMessage(error)}`
    throw new EdgefnError('cp_unreachable', message, { cause: error })
  }
  if (!response.ok) throw refusal(response, text)
  return text
}

function refusal(response: Response, text: string): ControlPlaneError {
  const { status } = response
  const parsed = readAnswer(errorBodySchema, parseJson(text))
  if (parsed.success) {
    const { code, message, request_id } = parsed.data.error
    return new ControlPlaneError(status, code, message, request_id)
  }
  const excerpt = text.slice(0, 200).replaceAll(/\s+/g, ' ')
  const message = `HTTP ${status}${excerpt === '' ? '' : `: ${excerpt}`}`
  return new ControlPlaneError(status, `http_${status}`, message, null)
}

function parseAnswer<T>(what: string, text: string, schema: z.ZodType<T>): T {
  const parsed = readAnswer(schema, parseJson(text))
  if (parsed.success) return parsed.data
  const message = `The answer to ${what} is not what this version of edgefn expects: ${z.prettifyError(parsed.error)}`
  throw new EdgefnError('internal', message)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function queryText(query: Query): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== null) parameters.set(name, String(value))
  }
  return parameters.size === 0 ? '' : `?${parameters}`
}
