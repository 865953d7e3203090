/** An ingress on a real socket whose functions are written in the test. */

import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type WorkerFunction, workerFunctionSchema } from '../../../../src/edge/ipc.ts'
import { StatsFile } from '../../../../src/edge/stats.ts'
import type {
  GuestRequest,
  GuestResponse,
  Invoker,
  Outcome,
} from '../../../../src/edge/worker/call.ts'
import { createCallLog } from '../../../../src/edge/worker/ingress/call-log.ts'
import { QuotaFile } from '../../../../src/edge/quota.ts'
import { VerdictFile } from '../../../../src/edge/verdicts.ts'
import { BreakerFile } from '../../../../src/edge/breaker-file.ts'
import { createGuard } from '../../../../src/edge/worker/admit/guard.ts'
import { createAdmission } from '../../../../src/edge/worker/admit/admission.ts'
import { createHandler } from '../../../../src/edge/worker/ingress/handle.ts'
import { createPreviewFlights } from '../../../../src/edge/worker/ingress/preview-flights.ts'
import { createOnDemand } from '../../../../src/edge/worker/ingress/on-demand.ts'
import { openServer } from '../../../../src/edge/worker/ingress/server.ts'
import type { ServingTable } from '../../../../src/edge/worker/ingress/table.ts'
import { buildRouter } from '../../../../src/edge/worker/router/router.ts'
import { type Route, routeSchema } from '../../../../src/protocol/manifest.ts'
import { createLog } from '../../../../src/telemetry/log.ts'
import { SIGNING_KEY } from '../../agent/fixtures/manifests.ts'

export function aFunction(fields: Record<string, unknown> = {}): WorkerFunction {
  const function_id = Bun.randomUUIDv7()
  return workerFunctionSchema.parse({
    function_id,
    key: fields['key'] ?? fields['function_id'] ?? function_id,
    split: null,
    name: 'hello',
    version: 1,
    deployment_id: Bun.randomUUIDv7(),
    abi: 'edgefn',
    entrypoint: 'handle',
    memory_pages: 16,
    max_execution_ms: 500,
    quotas: { concurrency: null, requests_per_second: null, burst: null },
    env: {},
    http_allow: [],
    sha256: 'a'.repeat(64),
    size_bytes: 8,
    slot: 0,
    quota_slot: fields['slot'] ?? 0,
    path: '/nowhere/1.wasm',
    ...fields,
  })
}

export function aRoute(fn: WorkerFunction, fields: Record<string, unknown> = {}): Route {
  return routeSchema.parse({
    route_id: Bun.randomUUIDv7(),
    host: '*',
    path: '/',
    path_type: 'prefix',
    methods: [],
    priority: 0,
    function_id: fn.function_id,
    ...fields,
  })
}

const MEASURES = {
  ...{ execution_ms: 1, busy_ms: 1, cold: false, logs: [], logs_dropped: 0 },
  ...{ entered_ms: 0, left_ms: 0 },
}

export function answered(
  body: string | Uint8Array<ArrayBuffer>,
  response: Partial<Omit<GuestResponse, 'body'>> = {},
  measures: Partial<Outcome> = {},
): Outcome {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body
  const headers = [['content-type', 'text/plain']] as const
  return {
    ...MEASURES,
    ...measures,
    ok: true,
    response: { status: 200, headers, ...response, body: bytes },
  } as Outcome
}

export function failed(code: (Outcome & { ok: false })['code'], message: string): Outcome {
  return { ...MEASURES, ok: false, code, message }
}

export type Invoke = (
  fn: WorkerFunction,
  request: GuestRequest,
  client?: () => AbortSignal,
) => Outcome | Promise<Outcome>

/** An invoker that answers as `invoke` says and remembers what it was given; what `runsNow` picks without a pause. */
export function inMemoryInvoker(invoke: Invoke, runsNow: () => boolean = () => false) {
  const calls: { fn: WorkerFunction; request: GuestRequest }[] = []
  const invoker: Invoker = {
    invoke: async (fn, request, client) => {
      calls.push({ fn, request })
      return invoke(fn, request, client)
    },
    invokeNow: (fn, request) => {
      if (!runsNow()) return null
      calls.push({ fn, request })
      const outcome = invoke(fn, request)
      if (outcome instanceof Promise) throw new Error('It cannot wait.')
      return outcome
    },
    prepare: async () => {},
    assign: () => {},
    upgrade: () => {},
    relieve: () => {},
    close: async () => {},
  }
  return { invoker, calls }
}

export interface IngressOptions {
  readonly fn?: WorkerFunction
  /** Other versions of it that its split leads to. */
  readonly arms?: readonly WorkerFunction[]
  readonly routes?: (fn: WorkerFunction) => Route[]
  readonly invoke?: Invoke
  /** Whether a call runs without a pause, as in the inline lane. */
  readonly runsNow?: () => boolean
  readonly bodyBytesMax?: number
  readonly idleSeconds?: number
  /** Milliseconds since the epoch, for the breakers. */
  readonly now?: () => number
  readonly fetchWaitMsMax?: number
  readonly previewDomain?: string
  readonly onPreview?: (arm: { function_id: string; version: number }, token: string) => boolean
  readonly onFetch?: (fn: WorkerFunction, damaged: boolean) => boolean
}

export function openIngress(options: IngressOptions = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'edgefn-ingress-'))
  const stats = new StatsFile(join(directory, 'stats'))
  const lines: Record<string, unknown>[] = []
  const log = createLog({
    component: 'edge-worker',
    level: 'info',
    pretty: false,
    write: (line) => void lines.push(JSON.parse(line)),
  })
  const fn = options.fn ?? aFunction()
  const quotas = new QuotaFile(join(directory, 'quotas'), 1)
  const { invoker, calls } = inMemoryInvoker(
    options.invoke ?? (() => answered('hello')),
    options.runsNow,
  )
  const callLog = createCallLog({ log, stats, quotas, nowMs: () => performance.now() })
  const onDemand = createOnDemand({
    request: options.onFetch ?? (() => false),
    waitMsMax: options.fetchWaitMsMax ?? 5_000,
    waitersMax: 100,
    failureMsKept: 0,
  })
  const previewFlights = createPreviewFlights({
    request: options.onPreview ?? (() => false),
    waitMsMax: options.fetchWaitMsMax ?? 5_000,
    waitersMax: 100,
    failureMsKept: 0,
  })
  const table: ServingTable = {
    revision: 1,
    preview_suffix: options.previewDomain === undefined ? null : `.${options.previewDomain}`,
    router: buildRouter(options.routes?.(fn) ?? [aRoute(fn)]),
    functions: new Map([fn, ...(options.arms ?? [])].map((row) => [row.key, row])),
  }
  const admission = createAdmission({
    quotas,
    worker: 0,
    nowMs: () => performance.now(),
  })
  const verdicts = new VerdictFile(join(directory, 'verdicts'))
  const breakers = new BreakerFile(join(directory, 'breakers'))
  const guard = createGuard({ verdicts, breakers, now: options.now ?? Date.now })
  const handle = createHandler({
    table: () => table,
    admission,
    guard,
    invoker,
    onDemand,
    previewFlights,
    signingKey: SIGNING_KEY,
    stats,
    log,
    callLog,
    nowMs: () => performance.now(),
    bodyBytesMax: options.bodyBytesMax ?? 1000,
    idleSeconds: options.idleSeconds ?? 12,
  })
  const server = openServer({ host: '127.0.0.1', port: 0, handle, log })
  return {
    port: server.port,
    url: `http://127.0.0.1:${server.port}`,
    fn,
    calls,
    stats,
    quotas,
    verdicts,
    breakers,
    lines,
    onDemand,
    previewFlights,
    table,
    server,
    close: () => {
      server.abort()
      callLog.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/**
 * Sends bytes as they are, `last` when it is there, and resolves with all that came back when the server closes or
 * `done` says it is enough.
 */
export function raw(
  port: number,
  pieces: string | readonly string[],
  done: (received: string) => boolean = () => false,
  last?: Promise<string>,
): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  let received = ''
  const socket = connect(port, '127.0.0.1', async () => {
    const given = last === undefined ? [] : [last]
    for (const each of [...[pieces].flat(), ...given]) {
      const piece = await each
      if (socket.destroyed) return
      await new Promise<void>(
        (sent) => void socket.write(Buffer.from(piece, 'latin1'), () => sent()),
      )
    }
  })
  socket.on('data', (data: Buffer) => {
    received += data.toString('latin1')
    if (done(received)) socket.destroy()
  })
  socket.on('error', () => socket.destroy())
  socket.on('close', () => resolve(received))
  return promise
}

/** Resolves when `condition` holds. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 45_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('The condition never held.')
    await Bun.sleep(2)
  }
}
