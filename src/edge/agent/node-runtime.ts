/** The parts of an enrolled node wired to each other: workers, sync, heartbeat, broker, statistics. */

import { join } from 'node:path'

import type { EdgeConfig } from '../../config/modes.ts'
import { EdgefnError } from '../../errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Manifest } from '../../protocol/manifest.ts'
import type { Log } from '../../telemetry/log.ts'
import { FunctionHealth } from './blame/function-health.ts'
import type { ArtifactCache } from './cache/artifact-cache.ts'
import { CacheCare } from './cache/cache-care.ts'
import type { IndexDatabase } from './cache/cache-index.ts'
import { createStateStore } from './cache/state-store.ts'
import type { CompileCommand } from './compile/compile-process.ts'
import { CompiledStore } from './compile/compiled-store.ts'
import { Compiler } from './compile/compiler.ts'
import { processorName } from './compile/processor.ts'
import type { CpClient } from './cp-client.ts'
import type { Enrolment } from './enrol.ts'
import { FunctionData } from './function-data.ts'
import { HeartbeatSender } from './heartbeat/heartbeat.ts'
import type { AgentMetrics } from './metrics.ts'
import { createAgentMetrics } from './metrics.ts'
import { NodeMemory } from './memory/node-memory.ts'
import { MqttConnection } from './mqtt/connection.ts'
import { NodeReport } from './node-report.ts'
import { keysInUse, workerFunction } from './node-state.ts'
import type { ReadyCheck } from './ops-server.ts'
import { readyChecks } from './ready-checks.ts'
import type { WorkerRegister } from './supervise/orphans.ts'
import type { SharedFiles } from './shared-files.ts'
import { openSharedFiles } from './shared-files.ts'
import { SlotTable } from './supervise/slots.ts'
import type { WorkerCommand } from './supervise/supervisor.ts'
import { Supervisor } from './supervise/supervisor.ts'
import type { ArtifactSource } from './sync/artifact-source.ts'
import { createArtifactSource } from './sync/artifact-source.ts'
import { createFetcher } from './sync/fetcher.ts'
import { Syncer } from './sync/syncer.ts'

/** How long the workers of an earlier agent may serve beside workers that do not all come up. */
const fullStrengthMsMax = 5_000

/** How often uses of artifacts are written to the index. */
const useFlushMs = 60_000

/** Command lines of the processes that a node starts. */
export interface ProcessCommands {
  readonly worker: WorkerCommand
  readonly compile: CompileCommand
}

interface NodeRuntimeOptions {
  readonly config: EdgeConfig
  readonly log: Log
  readonly run_dir: string
  /** What an earlier agent left, and what this one starts. */
  readonly register: WorkerRegister
  readonly database: IndexDatabase
  readonly cache: ArtifactCache
  readonly cp: CpClient
  readonly enrolment: Enrolment
  readonly closing: AbortSignal
  readonly commands: ProcessCommands
  retryDelayMs(attempt: number): number
  cpConnected(): boolean
}

export class NodeRuntime {
  readonly metrics: AgentMetrics
  readonly #options: NodeRuntimeOptions
  readonly #shared: SharedFiles
  readonly #functionData: FunctionData
  readonly #health: FunctionHealth
  readonly #slots: SlotTable
  readonly #syncer: Syncer
  readonly #supervisor: Supervisor
  readonly #source: ArtifactSource
  readonly #cacheCare: CacheCare
  readonly #compiledStore: CompiledStore
  readonly #compiler: Compiler | null
  readonly #register: WorkerRegister
  readonly #mqtt: MqttConnection | null
  readonly #heartbeat: HeartbeatSender
  readonly #memory: NodeMemory
  readonly #report: NodeReport
  #useTimer: ReturnType<typeof setInterval> | null = null
  #verifying: Promise<void> = Promise.resolve()
  #closing = false

  constructor(options: NodeRuntimeOptions) {
    this.#options = options
    const { config, run_dir } = options
    this.#shared = openSharedFiles(run_dir, config.workers + Number(config.spare_worker))
    this.#health = this.#makeHealth()
    this.#slots = new SlotTable(
      (slot) => this.#shared.clearSlot(slot),
      (functionId, slot) => this.#health.slotTaken(functionId, slot),
    )
    this.#functionData = new FunctionData({
      kv_dir: join(config.data_dir, 'kv'),
      guest_metrics_dir: join(run_dir, `guest-metrics.${this.#shared.stamp}.shared`),
      log: options.log,
      now: Date.now,
    })
    this.#register = options.register
    this.#source = this.#makeSource()
    this.#compiledStore = new CompiledStore(
      join(config.data_dir, 'compiled'),
      LIMITS.compiledBytesMax,
    )
    this.#memory = new NodeMemory({
      ...{ config, log: options.log },
      relieve: (level) => this.#supervisor.relieve(level),
      onChange: () => this.#heartbeat.beatNow(),
    })
    this.#compiler = this.#makeCompiler()
    this.#cacheCare = this.#makeCacheCare()
    this.#syncer = this.#makeSyncer()
    this.#supervisor = this.#makeSupervisor()
    this.#mqtt = this.#makeMqtt()
    this.#report = this.#makeReport()
    this.#heartbeat = this.#makeHeartbeat()
    this.metrics = createAgentMetrics({
      stats: this.#shared.stats,
      functions: () => this.#slots.entries(),
      figures: () => this.#report.figures(),
      health: () => this.#health.figures(),
      guestMetrics: (functionIds) => this.#functionData.metrics(functionIds),
    })
  }

  /** Serves what the last agent applied, then begins to talk to the control plane. Resolves with the workers' port. */
  async open(): Promise<number> {
    this.#options.cache.setInService(keysInUse(this.#syncer.state))
    const port = await this.#supervisor.open()
    // Not before all places serve: if the only one died, nobody would listen.
    void this.#supervisor.allServing(fullStrengthMsMax).then(() => this.#register.endOrphans())
    this.#syncer.poke()
    this.#mqtt?.open()
    this.#heartbeat.open()
    this.#health.open()
    this.#memory.open()
    this.#useTimer = setInterval(() => this.#noteUses(), useFlushMs)
    this.#verifying = this.#cacheCare.verify()
    void this.#compiler?.open().then(() => this.#wantCompiled())
    return port
  }

  /** The control plane can be reached again after it could not: whoever waits to retry does so now. */
  controlPlaneIsBack(): void {
    this.#options.cp.abandonUnanswered()
    this.#syncer.poke()
    this.#heartbeat.beatNow()
    this.#mqtt?.reconnectNow()
  }

  checks(): ReadyCheck[] {
    const { synced, revision } = this.#syncer.state
    return readyChecks({
      workers: this.#supervisor.serving,
      workers_wanted: this.#options.config.workers,
      closing: this.#closing,
      ...{ synced, revision },
      cp_connected: this.#options.cpConnected(),
      mqtt_connected: this.#mqtt?.connected ?? null,
      memory: this.#memory.check,
    })
  }

  /** Workers finish their calls; nobody is told anything after that. */
  async close(): Promise<void> {
    this.#closing = true
    if (this.#useTimer !== null) clearInterval(this.#useTimer)
    this.#memory.stop()
    await Promise.all([
      this.#mqtt?.close(),
      this.#heartbeat.close(),
      this.#syncer.close(),
      this.#compiler?.close(),
      this.#supervisor.close(),
    ])
    this.#memory.close()
    await this.#verifying
    this.#health.close()
    this.#noteUses()
    this.#register.clear()
  }

  #makeHealth(): FunctionHealth {
    return new FunctionHealth({
      shared: this.#shared,
      slots: () => this.#slots,
      database: this.#options.database,
      log: this.#options.log,
      now: Date.now,
      onChange: () => {
        this.#heartbeat.beatNow()
        this.#wantCompiled()
      },
    })
  }

  #makeSource(): ArtifactSource {
    const { cache, cp, enrolment, closing, log } = this.#options
    const fetchArtifact = createFetcher({
      cache,
      closing,
      signingKey: () => enrolment.current().signing_key,
      renewUrl: async (manifest) => {
        const plan = await cp.plan(0)
        for (const action of plan.actions) {
          if (action.action !== 'put_function') continue
          const { function_id, sha256, artifact_url } = action.function
          if (function_id === manifest.function_id && sha256 === manifest.sha256)
            return artifact_url
        }
        return null
      },
    })
    return createArtifactSource({
      cache,
      fetchArtifact,
      log,
      find: (functionId, version, sha256) => this.#findManifest(functionId, version, sha256),
      onFetched: (functionId) => this.#syncer.retry(functionId),
    })
  }

  #findManifest(functionId: string, version: number, sha256: string): Manifest | null {
    const entry = this.#syncer.state.functions.get(functionId)
    for (const manifest of [entry?.serving, entry?.pending]) {
      if (manifest?.version === version && manifest.sha256 === sha256) return manifest
    }
    return null
  }

  #makeSyncer(): Syncer {
    const { cp, cache, database, log, config, retryDelayMs } = this.#options
    const store = createStateStore(database)
    const deps = {
      cp,
      store,
      cache,
      slots: this.#slots,
      workers: {
        prepare: (fn: Parameters<Supervisor['prepare']>[0]) => this.#supervisor.prepare(fn),
        assign: (table: Parameters<Supervisor['assign']>[0]) => this.#supervisor.assign(table),
      },
      ensureArtifact: (manifest: Manifest) => this.#source.ensure(manifest),
      compiledOf: (manifest: Manifest) => this.#compiler?.formOf(manifest) ?? null,
      onAssigned: () => this.#wantCompiled(),
      onRemoved: (functionIds: readonly string[]) => this.#functionData.remove(functionIds),
      log,
      sync_ms: config.sync_ms,
      retryDelayMs,
    }
    return new Syncer(deps, store.load())
  }

  #makeSupervisor(): Supervisor {
    const { config, log, commands, enrolment } = this.#options
    return new Supervisor(
      {
        workers: config.workers,
        spare: config.spare_worker,
        memory_bytes_max: config.worker_memory_bytes_max,
        listen: config.listen,
        log,
        command: (index, port, spare) =>
          commands.worker({
            node_id: enrolment.current().node_id,
            index,
            spare,
            listen: { host: config.listen.host, port },
            ...this.#shared.pathsOf(index),
            ...this.#functionData.paths,
            log_level: config.log_level,
            log_pretty: process.stdout.isTTY === true,
            request_body_bytes_max: config.request_body_bytes_max,
            executor_threads_max: config.executor_threads_max,
            pool_bytes_max: config.pool_bytes_max,
            fetch_allow_private: [...config.fetch_allow_private],
            compile_key: this.#compiledStore.publicKey,
          }),
        onFetch: (request) => this.#source.fetchOnDemand(request),
        onStarted: (index, pid) => {
          this.#memory.workerStarted(index, pid)
          this.#register.add(pid)
        },
        refusal: (fn) => this.#health.refusal(fn),
        onExit: (index, reason) => {
          this.#memory.workerEnded(index)
          this.#health.workerEnded(index, reason)
          this.#shared.clearSeat(index, this.#slots.used())
        },
      },
      this.#syncer.table(),
    )
  }

  #makeMqtt(): MqttConnection | null {
    const { config, enrolment, log, retryDelayMs } = this.#options
    if (!config.mqtt || enrolment.current().mqtt_url === null) return null
    return new MqttConnection({
      credentials: () => enrolment.current(),
      onNotice: () => this.#syncer.poke(),
      onConnected: () => this.#syncer.poke(),
      onLost: () => this.#heartbeat.beatNow(),
      log,
      retryDelayMs,
    })
  }

  #makeReport(): NodeReport {
    const { config, cache, enrolment, cpConnected } = this.#options
    return new NodeReport({
      identity: () => enrolment.current(),
      workers_wanted: config.workers,
      stats: this.#shared.stats,
      slots: this.#slots,
      syncer: this.#syncer,
      supervisor: this.#supervisor,
      health: this.#health,
      cache,
      compiler: this.#compiler,
      memory: this.#memory,
      compiledStore: this.#compiledStore,
      cpConnected,
      mqttConnected: () => this.#mqtt?.connected ?? false,
    })
  }

  #makeHeartbeat(): HeartbeatSender {
    const { config, cp, log, retryDelayMs } = this.#options
    return new HeartbeatSender({
      heartbeat_ms: config.heartbeat_ms,
      payload: () => this.#report.heartbeat(),
      mqtt: this.#mqtt,
      postHttp: (beat) => cp.heartbeat(beat),
      onBehind: () => this.#syncer.poke(),
      log,
      retryDelayMs,
    })
  }

  #noteUses(): void {
    if (this.#syncer.state.synced) this.#functionData.sweep(this.#syncer.state.functions)
    this.#cacheCare.noteUses()
  }

  /** Functions in service from now on get their compiled forms, but for those that may not be loaded for a while. */
  #wantCompiled(): void {
    const served = [...this.#syncer.state.functions.values()].map(({ serving }) => serving)
    const wanted = served.filter((manifest) => manifest !== null)
    this.#compiler?.want(wanted.filter((manifest) => this.#health.refusal(manifest) === null))
  }

  #makeCacheCare(): CacheCare {
    const { cache, log, closing } = this.#options
    return new CacheCare({
      cache,
      log,
      closing,
      state: () => this.#syncer.state,
      invocations: () => this.#report.invocations(),
      manifestOf: (row) => this.#findManifest(row.function_id, row.version, row.sha256),
      ensure: (manifest) => this.#source.ensure(manifest),
    })
  }

  /** Null when the node is told not to compile. */
  #makeCompiler(): Compiler | null {
    const { config, cache, log, closing, commands } = this.#options
    if (!config.compile) return null
    return new Compiler({
      store: this.#compiledStore,
      command: commands.compile,
      processor: processorName(),
      log,
      closing,
      memory: this.#memory,
      artifactPath: (manifest) => cache.path(manifest),
      swap: async (manifest, compiled, loaded) => {
        const slot = this.#slots.find(manifest.function_id)
        if (slot === null) throw new EdgefnError('overloaded', 'The function is not in service.')
        const fn = workerFunction(manifest, slot, cache.path(manifest), compiled)
        await this.#supervisor.prepare(fn)
        loaded()
        this.#supervisor.upgrade(fn)
      },
    })
  }
}
