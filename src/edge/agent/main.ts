/** The agent of an edge node, put together: one per node, serves from its cache before it talks to anyone, runs no guest code. */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import type { EdgeConfig } from '../../config/modes.ts'
import { backoffMs } from '../../protocol/backoff.ts'
import type { Log } from '../../telemetry/log.ts'
import { lockDataDir } from './cache/agent-lock.ts'
import { ArtifactCache } from './cache/artifact-cache.ts'
import { createCommandStore } from './cache/command-store.ts'
import type { IndexDatabase } from './cache/cache-index.ts'
import { openCacheIndex } from './cache/cache-index.ts'
import { NodeModes } from './commands/modes.ts'
import { createCpClient, type CpClient } from './cp-client.ts'
import { CpProbe } from './cp-probe.ts'
import { Enrolment } from './enrol.ts'
import { NodeRuntime } from './node-runtime.ts'
import type { ProcessCommands } from './parts/node-parts.ts'
import type { ReadyCheck } from './ops-server.ts'
import { openOpsServer } from './ops-server.ts'
import { statisticsFiles, sweepSharedFiles } from './shared-files.ts'
import { WorkerRegister } from './supervise/orphans.ts'
import { machineClock } from './supervise/proc.ts'
import { assertPortFree } from './supervise/port.ts'
import { Leftovers } from './telemetry/leftovers.ts'
import { TelemetryStore } from './telemetry/store.ts'

export type { ProcessCommands } from './parts/node-parts.ts'

export interface Agent {
  readonly node_id: string
  /** Port the workers serve functions on. */
  readonly port: number
  readonly metrics_port: number
  /** Resolves with why when the node has left its control plane and is to be closed. */
  readonly left: Promise<string>
  /** Drains the workers and ends everything; resolves when the data directory is free. */
  close(): Promise<void>
}

/**
 * Starts the node. Resolves when its first worker serves: at once from the cache when the node is enrolled, also with the
 * control plane away; a new node waits until it could register. Throws `conflict` when another agent runs on the data
 * directory, `invalid_config` for a node without credentials or token, what the control plane refuses an enrolment
 * with, and the worker's own error when it cannot run (`engine_missing`). What had been opened is closed then.
 */
export async function startAgent(
  config: EdgeConfig,
  log: Log,
  commands: ProcessCommands,
): Promise<Agent> {
  const closers: (() => void | Promise<void>)[] = []
  const close = onlyOnce(async () => {
    for (const step of closers.splice(0).reverse()) await step()
  })
  try {
    return await start(config, log, commands, closers, close)
  } catch (thrown) {
    await close()
    throw thrown
  }
}

async function start(
  config: EdgeConfig,
  log: Log,
  commands: ProcessCommands,
  closers: (() => void | Promise<void>)[],
  close: () => Promise<void>,
): Promise<Agent> {
  const runDir = join(config.data_dir, 'run')
  mkdirSync(runDir, { recursive: true, mode: 0o700 })
  const lock = lockDataDir(join(config.data_dir, 'agent.lock'))
  closers.push(() => lock.release())
  const kept = openTelemetry(config, runDir, log)
  closers.push(() => kept.telemetry.close())
  const register = new WorkerRegister(join(runDir, 'workers.json'), log)
  // Before the join token is used up. Workers that an earlier agent left may hold the port: they are ours.
  if (!register.hasOrphans) assertPortFree(config.listen)

  let runtime: NodeRuntime | null = null
  const ops = openOpsServer({
    listen: config.metrics_listen,
    metrics: () => runtime?.metrics ?? null,
    checks: () => runtime?.checks() ?? [STARTING],
  })
  closers.push(() => ops.close())

  const { database, cache } = openCache(config, log)
  closers.push(() => {
    cache.flush()
    database.close()
  })

  const closing = new AbortController()
  const { command_store, modes } = createModes(config, log, database)
  const left = Promise.withResolvers<string>()
  const { cp, enrolment, reach, probe } = openControl(config, log, closing.signal, modes, () =>
    runtime?.controlPlaneIsBack(),
  )
  closers.push(() => {
    closing.abort()
    enrolment.close()
    probe.close()
  })

  const { node_id } = await enrolment.open()
  const nodeLog = log.with({ node_id })
  runtime = new NodeRuntime({
    config,
    log: nodeLog,
    run_dir: runDir,
    register,
    ...kept,
    ...{ database, cache, cp, enrolment, modes, command_store, commands, retryDelayMs },
    closing: closing.signal,
    leave: () => left.resolve('the node was removed'),
    cpConnected: () => reach.connected,
  })
  closers.push(() => {
    closing.abort()
    return runtime?.close()
  })
  const port = await runtime.open()
  enrolment.startRenewal()
  nodeLog.info('The node serves.', {
    context: { port, metrics_port: ops.port, workers: config.workers, pop: config.pop },
  })
  return { node_id, port, metrics_port: ops.port, left: left.promise, close }
}

/** What was said to the node before this start, and still holds. */
function createModes({ log_level }: EdgeConfig, log: Log, database: IndexDatabase) {
  const store = createCommandStore(database)
  const now = () => ({ ...machineClock(), wall_ms: Date.now() })
  return { command_store: store, modes: new NodeModes({ store, log, log_level, now }) }
}

/** The way to the control plane: client, credentials, and the probe that looks whether it is back. */
function openControl(
  config: EdgeConfig,
  log: Log,
  closing: AbortSignal,
  modes: NodeModes,
  controlPlaneIsBack: () => void,
): { cp: CpClient; enrolment: Enrolment; reach: { connected: boolean }; probe: CpProbe } {
  const enrolment = new Enrolment({
    onEnrolling: () => modes.reset(),
    config,
    path: join(config.data_dir, 'credentials.json'),
    cp: { register: (...args) => cp.register(...args), renewToken: () => cp.renewToken() },
    log,
    retryDelayMs,
  })
  const isolated = () => modes.isolated
  const probe = new CpProbe(config.cp, controlPlaneIsBack, isolated)
  const reach = { connected: false }
  const cp = createCpClient({
    cp: config.cp,
    credentials: () => enrolment.current(),
    isolated,
    closing,
    onOutcome: (reachable) => {
      reach.connected = reachable
      if (!reachable) probe.lost()
    },
  })
  return { cp, enrolment, reach, probe }
}

const STARTING: ReadyCheck = {
  name: 'enrolment',
  ok: false,
  required: true,
  detail: 'the node waits for the control plane to register it',
}

/** Opens the stored telemetry, and deletes what earlier agents shared with their workers, except what is to go there yet. */
function openTelemetry(
  { data_dir }: EdgeConfig,
  runDir: string,
  log: Log,
): { telemetry: TelemetryStore; leftovers: Leftovers } {
  const telemetry = new TelemetryStore({ path: join(data_dir, 'telemetry.db'), log })
  const files = (stamp: string) => statisticsFiles(runDir, stamp)
  const leftovers = new Leftovers({ store: telemetry, files, log })
  sweepSharedFiles(runDir, leftovers.stamps)
  return { telemetry, leftovers }
}

function openCache(
  config: EdgeConfig,
  log: Log,
): { database: IndexDatabase; cache: ArtifactCache } {
  const database = openCacheIndex(join(config.data_dir, 'index.db'), log)
  try {
    const cache = new ArtifactCache({
      dir: join(config.data_dir, 'cache'),
      database,
      log,
      bytes_max: config.cache_bytes_max,
      files_max: config.cache_files_max,
    })
    cache.open()
    return { database, cache }
  } catch (thrown) {
    database.close()
    throw thrown
  }
}

function retryDelayMs(attempt: number): number {
  return backoffMs(attempt, Math.random())
}

function onlyOnce(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null
  return () => (running ??= run())
}
