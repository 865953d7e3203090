/** Every part of an enrolled node. They know each other by this object, which is whole before any of them is opened. */

import { join } from 'node:path'

import type { EdgeConfig } from '../../../config/modes.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { FunctionHealth } from '../blame/function-health.ts'
import type { CommandStore } from '../cache/command-store.ts'
import type { ArtifactCache } from '../cache/artifact-cache.ts'
import type { CacheCare } from '../cache/cache-care.ts'
import type { IndexDatabase } from '../cache/cache-index.ts'
import type { CompileCommand } from '../compile/compile-process.ts'
import { CompiledStore } from '../compile/compiled-store.ts'
import type { Compiler } from '../compile/compiler.ts'
import type { NodeModes } from '../commands/modes.ts'
import type { CommandRunner } from '../commands/runner.ts'
import type { CpClient } from '../cp-client.ts'
import type { Enrolment } from '../enrol.ts'
import { sqlCommand } from '../../../sql/command.ts'
import { FunctionData } from '../function-data.ts'
import type { HeartbeatSender } from '../heartbeat/heartbeat.ts'
import { NodeMemory } from '../memory/node-memory.ts'
import type { AgentMetrics } from '../metrics.ts'
import { createAgentMetrics } from '../metrics.ts'
import type { MqttConnection } from '../mqtt/connection.ts'
import type { NodeReport } from '../node-report.ts'
import type { Previews } from '../previews/previews.ts'
import { SchemaApplier } from '../schemas/schema-applier.ts'
import { SchemaKeeper } from '../schemas/schema-keeper.ts'
import type { SharedFiles } from '../shared-files.ts'
import { openSharedFiles, sweepSharedFiles } from '../shared-files.ts'
import type { WorkerRegister } from '../supervise/orphans.ts'
import { Arms } from '../supervise/arms.ts'
import type { Supervisor, WorkerCommand } from '../supervise/supervisor.ts'
import type { TelemetryCollector } from '../telemetry/collector.ts'
import type { TelemetrySender } from '../telemetry/sender.ts'
import type { Leftovers } from '../telemetry/leftovers.ts'
import type { TelemetryStore } from '../telemetry/store.ts'
import type { ArtifactSource } from '../sync/artifact-source.ts'
import type { Syncer } from '../sync/syncer.ts'
import { makeCommands } from './commands.ts'
import { makeHeartbeat, makeMqtt, makeReport } from './control.ts'
import { makeCacheCare, makeCompiler, makeHealth, makeSource } from './modules.ts'
import { makePreviews, makeSupervisor, makeSyncer } from './serving.ts'
import { makeTelemetryCollector, makeTelemetrySender } from './telemetry.ts'

/** Command lines of the processes that a node starts. */
export interface ProcessCommands {
  readonly worker: WorkerCommand
  readonly compile: CompileCommand
}

export interface NodePartsOptions {
  readonly config: EdgeConfig
  readonly log: Log
  readonly run_dir: string
  /** What an earlier agent left, and what this one starts. */
  readonly register: WorkerRegister
  readonly database: IndexDatabase
  readonly cache: ArtifactCache
  readonly telemetry: TelemetryStore
  /** Statistics of earlier agents that are not to the end in the telemetry. */
  readonly leftovers: Leftovers
  readonly cp: CpClient
  readonly enrolment: Enrolment
  readonly closing: AbortSignal
  readonly commands: ProcessCommands
  /** What holds on the node until something else is said, and where that is kept. */
  readonly modes: NodeModes
  readonly command_store: CommandStore
  /** The node has left its control plane: the agent is to end. */
  leave(): void
  retryDelayMs(attempt: number): number
  cpConnected(): boolean
}

export class NodeParts {
  readonly metrics: AgentMetrics
  readonly options: NodePartsOptions
  readonly shared: SharedFiles
  readonly functionData: FunctionData
  readonly schemaApplier: SchemaApplier
  readonly schemaKeeper: SchemaKeeper
  readonly health: FunctionHealth
  readonly arms: Arms
  readonly previews: Previews
  readonly syncer: Syncer
  readonly supervisor: Supervisor
  readonly source: ArtifactSource
  readonly cacheCare: CacheCare
  readonly compiledStore: CompiledStore
  readonly compiler: Compiler | null
  readonly register: WorkerRegister
  readonly mqtt: MqttConnection | null
  readonly heartbeat: HeartbeatSender
  readonly memory: NodeMemory
  readonly report: NodeReport
  readonly telemetryCollector: TelemetryCollector
  readonly telemetrySender: TelemetrySender
  readonly commands: CommandRunner

  constructor(options: NodePartsOptions) {
    this.options = options
    const { config, run_dir } = options
    this.shared = openShared(options)
    this.health = makeHealth(this)
    this.telemetryCollector = makeTelemetryCollector(this)
    this.arms = new Arms({
      stats: this.shared.stats,
      clearSlot: (slot) => this.shared.clearSlot(slot),
      clearQuotaSlot: (slot) => this.shared.clearQuotaSlot(slot),
      taken: (arm, slot) => {
        this.health.slotTaken(arm, slot)
        this.telemetryCollector.slotTaken(arm, slot)
      },
      leaving: (arm, slot) => this.health.slotLeaving(arm, slot),
    })
    this.functionData = new FunctionData({
      kv_dir: join(config.data_dir, 'kv'),
      sql_dir: join(config.data_dir, 'sql'),
      guest_metrics_dir: join(run_dir, `guest-metrics.${this.shared.stamp}.shared`),
      log: options.log,
      now: Date.now,
    })
    this.schemaApplier = new SchemaApplier({
      sql_dir: this.functionData.paths.sql_dir,
      command: sqlCommand,
      log: options.log,
      closing: options.closing,
      onAnswers: () => this.syncer.poke(),
    })
    this.schemaKeeper = new SchemaKeeper(this.schemaApplier)
    this.register = options.register
    this.source = makeSource(this)
    this.compiledStore = new CompiledStore(
      join(config.data_dir, 'compiled'),
      LIMITS.compiledBytesMax,
    )
    this.memory = new NodeMemory({
      ...{ config, log: options.log },
      relieve: (level) => this.supervisor.relieve(level),
      onChange: () => this.heartbeat.beatNow(),
    })
    this.compiler = makeCompiler(this)
    this.cacheCare = makeCacheCare(this)
    this.previews = makePreviews(this)
    this.syncer = makeSyncer(this)
    this.supervisor = makeSupervisor(this)
    this.mqtt = makeMqtt(this)
    this.report = makeReport(this)
    this.commands = makeCommands(this)
    this.heartbeat = makeHeartbeat(this)
    this.telemetrySender = makeTelemetrySender(this)
    this.metrics = createAgentMetrics({
      stats: this.shared.stats,
      functions: () =>
        this.arms
          .functionIds()
          .values()
          .map((id) => [id, this.arms.tallyOf(id)] as const),
      versions: () => this.report.servedTotals(),
      figures: () => this.report.figures(),
      health: () => this.health.figures(),
      guestMetrics: (functionIds) => this.functionData.metrics(functionIds),
    })
  }
}

/** On a full disk the place of what earlier agents left is needed, if nobody counts there any more. */
function openShared({ config, run_dir, register, leftovers }: NodePartsOptions): SharedFiles {
  const seats = config.workers + 1
  try {
    return openSharedFiles(run_dir, seats)
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code !== 'ENOSPC' || register.hasOrphans) throw thrown
    leftovers.release()
    // What was begun goes too.
    sweepSharedFiles(run_dir, new Set())
    return openSharedFiles(run_dir, seats)
  }
}
