/** The node's side of the REST API: typed calls with deadlines, every failure an EdgefnError. */

import { z } from 'zod'

import { EdgefnError, errorMessage, isErrorCode } from '../../errors.ts'
import type { CommandId, CommandResult } from '../../protocol/commands.ts'
import { readPendingCommands, type CommandsAsRead } from '../../protocol/pending-commands.ts'
import type { NodeCredentials, NodeRegistration } from '../../protocol/api.ts'
import { errorBodySchema, nodeCredentialsSchema } from '../../protocol/api.ts'
import type { Heartbeat } from '../../protocol/messages.ts'
import { heartbeatAnswerSchema } from '../../protocol/messages.ts'
import { readAnswer, readPlan, type PlanAsRead } from '../../protocol/lenient.ts'
import { manifestSchema, type Manifest } from '../../protocol/manifest.ts'
import type { SyncAck } from '../../protocol/plan.ts'
import { telemetryAckSchema, type TelemetryAck } from '../../protocol/telemetry.ts'

/** How long the head of an answer may take, and a whole answer. */
const requestMsMax = 10_000
/** A full plan of a large node is many megabytes. */
const planMsMax = 60_000

interface CpClientDeps {
  /** `http://host:port`, without `/api/v1`. */
  readonly cp: string
  /** Throws `unauthenticated` when the node has none yet. */
  credentials(): NodeCredentials
  /** Whether the node may talk to nobody at present; without it, never. */
  isolated?(): boolean
  /** Aborted when the agent ends. */
  readonly closing: AbortSignal
  /** Told after every call whether the control plane answered at all. */
  onOutcome(reachable: boolean): void
}

/** Each call throws `cp_unreachable` when there is no usable answer, else the code the control plane answered with. */
export interface CpClient {
  /** Exchanges a join token for credentials [R12]. */
  register(joinToken: string, registration: NodeRegistration): Promise<NodeCredentials>
  renewToken(): Promise<NodeCredentials>
  /** The plan from `revision`; from 0 it is full. */
  plan(revision: number): Promise<PlanAsRead>
  acknowledge(ack: SyncAck): Promise<void>
  /** The manifest of the version that a preview token allows. */
  preview(token: string): Promise<Manifest>
  heartbeat(beat: Heartbeat): Promise<AnswerOfHeartbeat>
  /** An upload, as JSON text; answers the batch up to which it is committed. */
  telemetry(upload: string): Promise<TelemetryAck>
  /** What the control plane asks of the node. */
  pendingCommands(): Promise<CommandsAsRead>
  commandResult(id: CommandId, result: CommandResult): Promise<void>
  /** Gives up the calls that nobody has begun to answer: after a partition their connections may stay silent for ever. */
  abandonUnanswered(): void
}

/** A notice only says that something changed, whatever it is: none of them need be understood. */
const answerOfHeartbeatSchema = heartbeatAnswerSchema.extend({ notices: z.array(z.unknown()) })
export type AnswerOfHeartbeat = z.infer<typeof answerOfHeartbeatSchema>

/** Reads an answer: fields that this version does not know are left out. */
type Reader<T> = (answer: unknown) => z.ZodSafeParseResult<T>

function by<T>(schema: z.ZodType<T>): Reader<T> {
  return (answer) => readAnswer(schema, answer)
}

interface Call<T> {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly bearer: string
  readonly body?: unknown
  /** The body as text, in place of `body`. */
  readonly json?: string
  readonly answer: Reader<T>
  readonly ms_max?: number
}

export function createCpClient(deps: CpClientDeps): CpClient {
  const base = `${deps.cp.replace(/\/+$/, '')}/api/v1`

  const unanswered = new Set<AbortController>()

  async function call<T>(options: Call<T>): Promise<T> {
    if (deps.isolated?.() === true) {
      deps.onOutcome(false)
      throw new EdgefnError('cp_unreachable', 'The node is isolated.')
    }
    const waiting = new AbortController()
    unanswered.add(waiting)
    const whole = AbortSignal.timeout(options.ms_max ?? requestMsMax)
    const signal = AbortSignal.any([whole, waiting.signal, deps.closing])
    let answer: { readonly status: number; readonly text: string }
    try {
      answer = await send(`${base}${options.path}`, options, signal, waiting, () =>
        unanswered.delete(waiting),
      )
    } catch (thrown) {
      deps.onOutcome(false)
      throw new EdgefnError(
        'cp_unreachable',
        `The control plane at ${deps.cp} does not answer: ${errorMessage(thrown)}`,
        { cause: thrown },
      )
    } finally {
      unanswered.delete(waiting)
    }
    const { status, text } = answer
    deps.onOutcome(status < 500)
    if (status < 200 || status > 299) throw answeredError(deps.cp, options, status, text)
    return parseAnswer(deps.cp, options, text)
  }

  const own = (rest = '') => `/nodes/${deps.credentials().node_id}${rest}`
  const bearer = () => deps.credentials().token
  return {
    register: (joinToken, registration) =>
      call({
        method: 'POST',
        path: '/nodes/register',
        bearer: joinToken,
        body: registration,
        answer: by(nodeCredentialsSchema),
      }),
    renewToken: () =>
      call({
        method: 'POST',
        path: own('/token'),
        bearer: bearer(),
        answer: by(nodeCredentialsSchema),
      }),
    plan: (revision) =>
      call({
        method: 'GET',
        path: own(`/sync?revision=${revision}`),
        bearer: bearer(),
        answer: readPlan,
        ms_max: planMsMax,
      }),
    acknowledge: async (ack) => {
      await call({
        method: 'POST',
        path: own('/sync/ack'),
        bearer: bearer(),
        body: ack,
        answer: by(z.unknown()),
      })
    },
    preview: (token) =>
      call({
        method: 'POST',
        path: own('/previews'),
        bearer: bearer(),
        body: { token },
        answer: by(manifestSchema),
      }),
    heartbeat: (beat) =>
      call({
        method: 'POST',
        path: own('/heartbeat'),
        bearer: bearer(),
        body: beat,
        answer: by(answerOfHeartbeatSchema),
      }),
    telemetry: (upload) =>
      call({
        method: 'POST',
        path: own('/telemetry'),
        bearer: bearer(),
        json: upload,
        answer: by(telemetryAckSchema),
      }),
    pendingCommands: () =>
      call({
        method: 'GET',
        path: own('/commands/pending'),
        bearer: bearer(),
        answer: readPendingCommands,
      }),
    commandResult: async (id, result) => {
      await call({
        method: 'POST',
        path: own(`/commands/${id}/result`),
        bearer: bearer(),
        body: result,
        answer: by(z.unknown()),
      })
    },
    abandonUnanswered: () => {
      for (const waiting of unanswered) waiting.abort()
    },
  }
}

/** One request. `waiting` is aborted when the head of the answer does not come in time; `onHead` is told when it does. */
async function send<T>(
  url: string,
  { method, bearer, body, json }: Call<T>,
  signal: AbortSignal,
  waiting: AbortController,
  onHead: () => void,
): Promise<{ status: number; text: string }> {
  const handle = setTimeout(() => waiting.abort(), requestMsMax)
  try {
    const response = await fetch(url, {
      method,
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      ...(json === undefined ? {} : { body: json }),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal,
    })
    clearTimeout(handle)
    onHead()
    return { status: response.status, text: await response.text() }
  } finally {
    clearTimeout(handle)
  }
}

function parseAnswer<T>(cp: string, call: Call<T>, text: string): T {
  try {
    const read = call.answer(text === '' ? undefined : JSON.parse(text))
    if (read.success) return read.data
    throw read.error
  } catch (thrown) {
    throw new EdgefnError(
      'cp_unreachable',
      `The control plane at ${cp} answered ${call.method} ${call.path} with something that is not in the protocol.`,
      { cause: thrown },
    )
  }
}

/** The control plane's own error where it sent one; what a proxy in between says is not. */
function answeredError<T>(cp: string, call: Call<T>, status: number, text: string): EdgefnError {
  const body = parseErrorBody(text)
  if (body !== null && isErrorCode(body.code)) return new EdgefnError(body.code, body.message)
  const message = `The control plane at ${cp} answered ${call.method} ${call.path} with status ${status}.`
  if (status === 401) return new EdgefnError('unauthenticated', message)
  if (status === 403) return new EdgefnError('forbidden', message)
  if (status === 404) return new EdgefnError('not_found', message)
  return new EdgefnError('cp_unreachable', message)
}

function parseErrorBody(text: string): { code: string; message: string } | null {
  try {
    return readAnswer(errorBodySchema, JSON.parse(text)).data?.error ?? null
  } catch {
    return null
  }
}
