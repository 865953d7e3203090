/** The life of an enrolled node: what is opened when, and how it ends. */

import type { AgentMetrics } from './metrics.ts'
import { keysInUse } from './node-state.ts'
import { controlPlaneIsBack, openModes } from './parts/commands.ts'
import { noteUses, wantCompiled } from './parts/modules.ts'
import { NodeParts, type NodePartsOptions } from './parts/node-parts.ts'
import type { ReadyCheck } from './ops-server.ts'
import { readyChecks } from './ready-checks.ts'

/** How long the workers of an earlier agent may serve beside workers that do not all come up. */
const fullStrengthMsMax = 5_000

/** How often uses of artifacts are written to the index. */
const useFlushMs = 60_000

export class NodeRuntime {
  readonly #parts: NodeParts
  #useTimer: ReturnType<typeof setInterval> | null = null
  #verifying: Promise<void> = Promise.resolve()
  #closing = false

  constructor(options: NodePartsOptions) {
    this.#parts = new NodeParts(options)
  }

  get metrics(): AgentMetrics {
    return this.#parts.metrics
  }

  /** Serves what the last agent applied, then begins to talk to the control plane. Resolves with the workers' port. */
  async open(): Promise<number> {
    this.#parts.options.cache.setInService(keysInUse(this.#parts.syncer.state))
    openModes(this.#parts)
    const port = await this.#parts.supervisor.open()
    // Not before all places serve: if the only one died, nobody would listen.
    void this.#parts.supervisor
      .allServing(fullStrengthMsMax)
      .then(() => this.#parts.register.endOrphans())
      .then(() => this.#collectLeftovers())
    this.#parts.syncer.poke()
    this.#parts.commands.open()
    this.#parts.mqtt?.open()
    this.#parts.heartbeat.open()
    this.#parts.telemetryCollector.open()
    this.#parts.telemetrySender.wake()
    this.#parts.health.open()
    this.#parts.memory.open()
    this.#parts.previews.open()
    this.#useTimer = setInterval(() => noteUses(this.#parts), useFlushMs)
    this.#verifying = this.#parts.cacheCare.verify()
    void this.#parts.compiler?.open().then(() => wantCompiled(this.#parts))
    return port
  }

  /** The control plane can be reached again after it could not: whoever waits to retry does so now. */
  controlPlaneIsBack(): void {
    controlPlaneIsBack(this.#parts)
  }

  /** What the workers of an agent that was killed counted to their end. */
  #collectLeftovers(): void {
    if (this.#closing) return
    this.#parts.options.leftovers.collect()
    this.#parts.telemetrySender.wake()
  }

  checks(): ReadyCheck[] {
    const { synced, revision } = this.#parts.syncer.state
    return readyChecks({
      workers: this.#parts.supervisor.serving,
      workers_wanted: this.#parts.options.config.workers,
      closing: this.#closing,
      ...{ synced, revision },
      cp_connected: this.#parts.options.cpConnected(),
      mqtt_connected: this.#parts.mqtt?.state ?? null,
      memory: this.#parts.memory.check,
      drain: this.#parts.options.modes.check,
    })
  }

  /** Workers finish their calls; nobody is told anything after that. */
  async close(): Promise<void> {
    this.#closing = true
    if (this.#useTimer !== null) clearInterval(this.#useTimer)
    this.#parts.memory.stop()
    this.#parts.previews.close()
    await Promise.all([
      this.#parts.mqtt?.close(),
      this.#parts.heartbeat.close(),
      this.#parts.telemetrySender.close(),
      this.#parts.syncer.close(),
      this.#parts.commands.close(),
      this.#parts.schemaApplier.close(),
      this.#parts.compiler?.close(),
      this.#parts.supervisor.close(),
    ])
    this.#parts.telemetryCollector.close()
    this.#parts.options.modes.close()
    this.#parts.memory.close()
    await this.#verifying
    this.#parts.health.close()
    noteUses(this.#parts)
    this.#parts.register.clear()
  }
}
