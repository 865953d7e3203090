/** The parts of a node that serve: the workers, and what brings them to the desired state. */

import { EdgefnError } from '../../../errors.ts'
import type { Manifest } from '../../../protocol/manifest.ts'
import type { SyncAck } from '../../../protocol/plan.ts'
import { Tally } from '../../stats.ts'
import { readOrMakeSecretKey, secretKeyPath } from '../cache/secret-seal.ts'
import { createStateStore } from '../cache/state-store.ts'
import { servedArms, workerFunction } from '../node-state.ts'
import { Previews } from '../previews/previews.ts'
import { Supervisor } from '../supervise/supervisor.ts'
import { Syncer } from '../sync/syncer.ts'
import { wantCompiled } from './modules.ts'
import type { NodeParts } from './node-parts.ts'

export function makeSyncer(parts: NodeParts): Syncer {
  const { cp, cache, database, log, config, retryDelayMs } = parts.options
  const secretKey = readOrMakeSecretKey(secretKeyPath(config.data_dir))
  const store = createStateStore(database, secretKey)
  const deps = {
    cp: {
      acknowledge: (ack: SyncAck) => cp.acknowledge(ack),
      plan: async (revision: number) => {
        const plan = await cp.plan(revision)
        parts.previews.setDomain(plan.preview_domain ?? null)
        return plan
      },
    },
    store,
    cache,
    arms: parts.arms,
    previews: parts.previews,
    schemas: parts.schemaKeeper,
    workers: {
      prepare: (fn: Parameters<Supervisor['prepare']>[0]) => parts.supervisor.prepare(fn),
      assign: (table: Parameters<Supervisor['assign']>[0]) => parts.supervisor.assign(table),
    },
    ensureArtifact: (manifest: Manifest) => parts.source.ensure(manifest),
    compiledOf: (manifest: Manifest) => parts.compiler?.formOf(manifest) ?? null,
    onAssigned: () => wantCompiled(parts),
    onRemoved: (functionIds: readonly string[]) => {
      parts.functionData.remove(functionIds)
      parts.previews.drop(functionIds)
    },
    log,
    sync_ms: config.sync_ms,
    retryDelayMs,
  }
  return new Syncer(deps, store.load())
}

export function makeSupervisor(parts: NodeParts): Supervisor {
  const { config, log, commands, enrolment } = parts.options
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
          ...parts.shared.pathsOf(index),
          ...parts.functionData.paths,
          log_level: config.log_level,
          log_pretty: process.stdout.isTTY === true,
          request_body_bytes_max: config.request_body_bytes_max,
          executor_threads_max: config.executor_threads_max,
          pool_bytes_max: config.pool_bytes_max,
          fetch_allow_private: [...config.fetch_allow_private],
          compile_key: parts.compiledStore.publicKey,
          signing_key: enrolment.current().signing_key,
        }),
      onFetch: (request) => parts.source.fetchOnDemand(request),
      onPreview: (request) => parts.previews.bring(request, request.token),
      onStarted: (index, pid) => {
        parts.memory.workerStarted(index, pid)
        parts.register.add(pid)
      },
      refusal: (fn) => parts.health.refusal(fn),
      onExit: (index, reason) => {
        parts.memory.workerEnded(index)
        parts.health.workerEnded(index, reason)
        parts.shared.clearSeat(index, parts.arms)
      },
    },
    parts.syncer.table(),
  )
}

export function makePreviews(parts: NodeParts): Previews {
  const { cp, log } = parts.options
  const { arms, shared } = parts
  return new Previews({
    log,
    manifestFor: (token) => cp.preview(token),
    bringUp: async (manifest) => {
      const slots = arms.take(manifest)
      if (slots === null) {
        throw new EdgefnError('overloaded', 'The node has no record left for another version.')
      }
      const path = await parts.source.ensure(manifest)
      await parts.supervisor.prepare(workerFunction(manifest, slots, path, null))
    },
    retable: () => parts.syncer.retable(),
    calls: (arm) => {
      const slot = arms.find(arm)?.slot
      return slot === undefined ? 0 : new Tally().add(shared.stats, slot).get('invocations')
    },
    hasTraffic: ({ function_id, version }) => {
      const entry = parts.syncer.state.functions.get(function_id)
      return entry !== undefined && servedArms(entry).some((served) => served.version === version)
    },
    now: () => performance.now(),
  })
}
