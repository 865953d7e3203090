/** The life of a worker process: listen, take tables from the agent, serve, drain, end. */

import { EdgefnError, toEdgefnError } from '../../errors.ts'
import { functionIdSchema } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Log } from '../../telemetry/log.ts'
import { armKey } from '../ipc.ts'
import type { TablePart, ToWorker, WorkerFunction, WorkerOptions } from '../ipc.ts'
import type { QuotaFile } from '../quota.ts'
import type { StatsFile } from '../stats.ts'
import { TableRows } from '../table-parts.ts'
import type { Admission } from './admit/admission.ts'
import type { Guard } from './admit/guard.ts'
import type { AgentLink } from './agent-link.ts'
import type { Invoker } from './call.ts'
import { type CallLog, createCallLog } from './ingress/call-log.ts'
import { Gate } from './ingress/gate.ts'
import { createHandler } from './ingress/handle.ts'
import { createPreviewFlights, type PreviewFlights } from './ingress/preview-flights.ts'
import { createOnDemand, type OnDemand } from './ingress/on-demand.ts'
import { idleSeconds, type IngressServer, openServer } from './ingress/server.ts'
import { buildTable, type ServingTable } from './ingress/table.ts'

/** How long a request waits for a module that the agent must fetch first. */
const fetchWaitMsMax = 30_000
const fetchFailureMsKept = 1_000
/** How long running requests may take when the worker is told to stop; shorter than the agent waits before it kills. */
const drainMsMax = 9_000
/**
 * How long connections are ended with their next answers before the listener closes, at most, and how long none must have come for
 * that to be over: a request on a connection that is closed unannounced is lost.
 */
const partMsMax = 1_000
const partQuietMs = 100
/**
 * How long a worker that has a table serves without its agent. A new agent ends it by SIGTERM once its own workers serve; if none comes
 * (the service was stopped for good), nobody would ever update, count or stop this process.
 */
const orphanMsMax = 30_000

/**
 * How long requests may wait for the agent's first table. The port is open from the start, beside the siblings', so a
 * worker that replaces a dead one must hold what reaches it, not answer 404.
 */
const firstTableMsMax = 10_000

export interface WorkerServiceDeps {
  readonly options: WorkerOptions
  readonly link: AgentLink
  readonly log: Log
  readonly stats: StatsFile
  readonly quotas: QuotaFile
  readonly admission: Admission
  readonly guard: Guard
  readonly invoker: Invoker
  /** Version of the engine, as told to the agent. */
  readonly engine: string
  /** Milliseconds of the monotonic clock that executor threads share (`Libc.monotonicMs`). */
  readonly nowMs: () => number
}

export class WorkerService {
  readonly #deps: WorkerServiceDeps
  readonly #callLog: CallLog
  readonly #gate: Gate
  readonly #onDemand: OnDemand
  readonly #previewFlights: PreviewFlights
  readonly #ended = Promise.withResolvers<number>()
  /** Slots whose gauges this process has taken over from the one before it. */
  readonly #slotsTaken = new Set<number>()
  /** Of the table that the agent sends, in parts; what serves is made of them when they are whole. */
  readonly #rows = new TableRows()
  /** Ends with the part, or the upgrade, that came last. */
  #assigning: Promise<void> = Promise.resolve()
  /** Null until the agent has sent the first one. */
  #table: ServingTable | null = null
  readonly #firstTable = Promise.withResolvers<ServingTable>()
  #server: IngressServer | null = null
  #draining = false

  constructor(deps: WorkerServiceDeps) {
    this.#deps = deps
    this.#gate = new Gate(deps.stats)
    this.#callLog = createCallLog({
      log: deps.log,
      stats: deps.stats,
      quotas: deps.quotas,
      nowMs: deps.nowMs,
    })
    this.#onDemand = createOnDemand({
      request: (fn, damaged) =>
        deps.link.send({
          type: 'fetch',
          function_id: fn.function_id,
          version: fn.version,
          sha256: fn.sha256,
          damaged,
        }),
      waitMsMax: fetchWaitMsMax,
      waitersMax: LIMITS.queueRequestsMax,
      failureMsKept: fetchFailureMsKept,
    })
    this.#previewFlights = createPreviewFlights({
      request: ({ function_id, version }, token) =>
        deps.link.send({
          type: 'preview',
          function_id: functionIdSchema.parse(function_id),
          ...{ version, token },
        }),
      waitMsMax: fetchWaitMsMax,
      waitersMax: LIMITS.queueRequestsMax,
      failureMsKept: fetchFailureMsKept,
    })
  }

  /** Starts listening and tells the agent. Throws `invalid_config` when the address cannot be had. */
  open(): void {
    const { options, link, log, stats, admission, guard, invoker, engine, nowMs } = this.#deps
    const handle = createHandler({
      table: () => this.#table ?? this.#firstTable.promise,
      admission,
      guard,
      invoker,
      onDemand: this.#onDemand,
      previewFlights: this.#previewFlights,
      signingKey: options.signing_key,
      stats,
      log,
      callLog: this.#callLog,
      bodyBytesMax: options.request_body_bytes_max,
      nowMs,
      idleSeconds,
    })
    this.#server = openServer({
      ...options.listen,
      log,
      handle: this.#gate.guard(handle),
    })
    stats.setWorker('started_at_seconds', Date.now() / 1000)
    this.#firstTable.promise.catch(() => {})
    setTimeout(() => this.#firstTable.reject(notAssigned()), firstTableMsMax).unref()
    link.open({ onMessage: (message) => this.#take(message), onGone: () => this.#orphaned() })
    process.on('SIGTERM', () => void this.drain('SIGTERM'))
    // Ctrl-C reaches the whole process group; with an agent there, stopping is the agent's business.
    process.on('SIGINT', () => void (link.connected() || this.drain('SIGINT')))
    link.send({ type: 'ready', pid: process.pid, port: this.#server.port, engine })
    log.info('Worker listens', { context: { port: this.#server.port, engine } })
  }

  /** Resolves with the exit code when the worker has stopped serving and closed everything. */
  ended(): Promise<number> {
    return this.#ended.promise
  }

  /**
   * Ends connections with their answers, stops accepting, lets running requests end, all within `drainMsMax`, and closes. A second call
   * changes nothing. `exitCode` is not 0 when the worker ends because something in it broke, which does not wait for connections.
   */
  async drain(reason: string, exitCode = 0): Promise<void> {
    if (this.#draining) return
    this.#draining = true
    const { log, invoker } = this.#deps
    const server = this.#server
    log.info('Worker drains', { context: { reason, running: server?.running() ?? 0 } })
    // Who waits for a table waits in vain now.
    this.#firstTable.reject(notAssigned())
    const parted = exitCode === 0 ? this.#part() : Promise.resolve()
    const closed = parted.then(() => server?.drain()).then(() => invoker.close())
    const late = await Promise.race([
      closed.then(() => false),
      Bun.sleep(drainMsMax).then(() => true),
    ])
    if (late) {
      log.warn('Running requests are cut off', { context: { running: server?.running() ?? 0 } })
      server?.abort()
    }
    this.#callLog.close()
    this.#ended.resolve(exitCode)
  }

  async #part(): Promise<void> {
    this.#gate.part()
    const until = performance.now() + partMsMax
    for (let seen = -1; this.#gate.parted !== seen && performance.now() < until;) {
      seen = this.#gate.parted
      await Bun.sleep(partQuietMs)
    }
  }

  #take(message: ToWorker): void {
    switch (message.type) {
      case 'prepare':
        return void this.#prepare(message.function)
      case 'assign':
        return this.#assign(message)
      case 'upgrade':
        return this.#upgrade(message.function)
      case 'fetched':
        return this.#fetched(message)
      case 'previewed':
        return this.#previewFlights.previewed(message, message.error)
      case 'part':
        return this.#gate.part()
      case 'drained':
        return this.#gate.setDrained(message.on)
      case 'set_log_level':
        return this.#deps.log.setLevel(message.level)
      case 'memory_pressure':
        return this.#deps.invoker.relieve(message.level)
      case 'drain':
        return void this.drain('told by the agent')
    }
  }

  async #prepare(fn: WorkerFunction): Promise<void> {
    const answer = { type: 'prepared', function_id: fn.function_id, version: fn.version } as const
    try {
      await this.#deps.invoker.prepare(fn)
      this.#deps.link.send({ ...answer, error: null })
    } catch (thrown) {
      const { code, message } = toEdgefnError(thrown)
      this.#deps.log.failure('A function could not be prepared', thrown, {
        function_id: fn.function_id,
        context: { version: fn.version },
      })
      this.#deps.link.send({ ...answer, error: { code, message } })
    }
  }

  /** One part after the other; the last of them makes the next table. */
  #assign(part: TablePart): void {
    this.#assigning = this.#assigning.then(async () => {
      const { revision } = part
      this.#rows.take(part)
      for (const fn of part.functions) this.#takeSlot(fn.slot)
      if (part.last) await this.#swap(revision)
      this.#deps.link.send({ type: part.last ? 'assigned' : 'taken', revision })
    })
  }

  async #swap(revision: number): Promise<void> {
    const { invoker, log } = this.#deps
    const table = await buildTable(revision, this.#rows)
    for (const { route, error } of table.router.rejected) {
      log.failure('A route was left out of the table', error, { route_id: route.route_id })
    }
    this.#table = table
    this.#firstTable.resolve(table)
    invoker.assign([...table.functions.values()])
  }

  /** Gauges of a worker that was killed would otherwise stay for ever; the counters go on [P16]. */
  #takeSlot(slot: number): void {
    if (this.#slotsTaken.has(slot)) return
    this.#slotsTaken.add(slot)
    for (const gauge of ['in_flight', 'instances', 'instance_bytes'] as const) {
      this.#deps.stats.set(slot, gauge, 0)
    }
  }

  /** Calls go to the new form from now on; those that run end in the old one. Parts of a table that came before it are taken first. */
  #upgrade(fn: WorkerFunction): void {
    this.#assigning = this.#assigning.then(() => this.#upgradeNow(fn))
  }

  #upgradeNow(fn: WorkerFunction): void {
    const replaces = (row: WorkerFunction) => row.version === fn.version && row.sha256 === fn.sha256
    const served = this.#table?.functions.get(fn.key)
    const { path, compiled } = fn
    this.#replace(fn, (row) => (replaces(row) ? { ...row, path, compiled } : row))
    if (served !== undefined && replaces(served)) this.#deps.invoker.upgrade(served, fn)
  }

  #fetched(message: ToWorker & { type: 'fetched' }): void {
    const { function_id: id, version, path, error } = message
    if (path !== null) {
      this.#replace(message, (row) => (row.version === version ? { ...row, path } : row))
    }
    this.#onDemand.fetched(id, version, path, error)
  }

  /** Changes the rows of a version in the table that serves and in the one that is coming. */
  #replace(
    arm: { readonly function_id: string; readonly version: number },
    change: (row: WorkerFunction) => WorkerFunction,
  ): void {
    for (const functions of [this.#table?.functions, this.#rows.functions]) {
      for (const key of [arm.function_id, armKey(arm)]) {
        const row = functions?.get(key)
        if (row !== undefined) functions?.set(key, change(row))
      }
    }
  }

  #orphaned(): void {
    if (this.#draining) return
    // Nothing to serve, and nobody will bring it: its share of the port belongs to the siblings that have a table.
    if (this.#table === null) return void this.drain('the agent is gone before the first table')
    this.#deps.log.warn('The agent is gone; the worker serves on', {
      context: { orphan_ms_max: orphanMsMax },
    })
    setTimeout(() => void this.drain('no agent came for it'), orphanMsMax)
  }
}

function notAssigned(): EdgefnError {
  return new EdgefnError('function_unavailable', 'The worker has no functions yet.')
}
