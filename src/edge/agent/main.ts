/** The agent of an edge node, put together: one per node, serves from its cache before it talks to anyone, runs no guest code. */

import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import type { EdgeConfig } from '../../config/modes.ts'
import { backoffMs } from '../../protocol/backoff.ts'
import type { Log } from '../../telemetry/log.ts'
import { lockDataDir } from './cache/agent-lock.ts'
import { ArtifactCache } from './cache/artifact-cache.ts'
import type { IndexDatabase } from './cache/cache-index.ts'
import { openCacheIndex } from './cache/cache-index.ts'
import { createCpClient, type CpClient } from './cp-client.ts'
import { CpProbe } from './cp-probe.ts'
import { Enrolment } from './enrol.ts'
import type { ProcessCommands } from './node-runtime.ts'
import { NodeRuntime } from './node-runtime.ts'
import type { ReadyCheck } from './ops-server.ts'
import { openOpsServer } from './ops-server.ts'
import { WorkerRegister } from './supervise/orphans.ts'
import { assertPortFree } from './supervise/port.ts'

export type { ProcessCommands } from './node-runtime.ts'

export interface Agent {
  readonly node_id: string
  /** Port the workers serve functions on. */
  readonly port: number
  readonly metrics_port: number
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
  sweepStatistics(runDir)
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
  const { cp, enrolment, reach, probe } = openControl(config, log, closing.signal, () =>
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
    database,
    cache,
    cp,
    enrolment,
    closing: closing.signal,
    retryDelayMs,
    commands,
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
  return { node_id, port, metrics_port: ops.port, close }
}

/** The way to the control plane: client, credentials, and the probe that looks whether it is back. */
function openControl(
  config: EdgeConfig,
  log: Log,
  closing: AbortSignal,
  controlPlaneIsBack: () => void,
): { cp: CpClient; enrolment: Enrolment; reach: { connected: boolean }; probe: CpProbe } {
  const enrolment = new Enrolment({
    config,
    path: join(config.data_dir, 'credentials.json'),
    cp: { register: (...args) => cp.register(...args), renewToken: () => cp.renewToken() },
    log,
    retryDelayMs,
  })
  const probe = new CpProbe(config.cp, controlPlaneIsBack)
  const reach = { connected: false }
  const cp = createCpClient({
    cp: config.cp,
    credentials: () => enrolment.current(),
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

/** Statistics and quotas of an earlier agent: its orphans keep theirs mapped, nobody reads them any more. */
function sweepStatistics(runDir: string): void {
  for (const name of readdirSync(runDir)) {
    if (/\.(?:stats|shared)$/.test(name))
      rmSync(join(runDir, name), { recursive: true, force: true })
  }
}

function retryDelayMs(attempt: number): number {
  return backoffMs(attempt, Math.random())
}

function onlyOnce(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null
  return () => (running ??= run())
}
