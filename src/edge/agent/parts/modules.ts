/** The parts of a node that have modules: artifacts, their compiled forms, and which functions are well. */

import { EdgefnError } from '../../../errors.ts'
import { armsOf, type Manifest } from '../../../protocol/manifest.ts'
import { FunctionHealth } from '../blame/function-health.ts'
import { CacheCare } from '../cache/cache-care.ts'
import { Compiler } from '../compile/compiler.ts'
import { processorName } from '../compile/processor.ts'
import { servedArms, workerFunction } from '../node-state.ts'
import type { ArtifactSource } from '../sync/artifact-source.ts'
import { createArtifactSource } from '../sync/artifact-source.ts'
import { createFetcher } from '../sync/fetcher.ts'
import type { NodeParts } from './node-parts.ts'

export function makeHealth(parts: NodeParts): FunctionHealth {
  return new FunctionHealth({
    shared: parts.shared,
    arms: () => parts.arms,
    database: parts.options.database,
    log: parts.options.log,
    now: Date.now,
    onChange: () => {
      parts.heartbeat.beatNow()
      wantCompiled(parts)
    },
  })
}

export function makeSource(parts: NodeParts): ArtifactSource {
  const { cache, cp, enrolment, closing, log } = parts.options
  const fetchArtifact = createFetcher({
    cache,
    closing,
    signingKey: () => enrolment.current().signing_key,
    renewUrl: async (manifest) => {
      const plan = await cp.plan(0)
      for (const action of plan.actions) {
        if (action.action !== 'put_function') continue
        for (const { function_id, sha256, artifact_url } of armsOf(action.function)) {
          if (function_id === manifest.function_id && sha256 === manifest.sha256)
            return artifact_url
        }
      }
      return null
    },
  })
  return createArtifactSource({
    cache,
    fetchArtifact: async (manifest) => {
      if (!parts.options.modes.isolated) return fetchArtifact(manifest)
      throw new EdgefnError('artifact_store_unavailable', 'The node is isolated.')
    },
    log,
    find: (functionId, version, sha256) => findManifest(parts, functionId, version, sha256),
    onFetched: (functionId) => parts.syncer.retry(functionId),
  })
}

export function findManifest(
  parts: NodeParts,
  functionId: string,
  version: number,
  sha256: string,
): Manifest | null {
  const entry = parts.syncer.state.functions.get(functionId)
  for (const manifest of [entry?.serving, entry?.pending]) {
    for (const arm of manifest == null ? [] : armsOf(manifest)) {
      if (arm.version === version && arm.sha256 === sha256) return arm
    }
  }
  const previewed = parts.previews.find({ function_id: functionId, version })
  return previewed?.sha256 === sha256 ? previewed : null
}

export function makeCacheCare(parts: NodeParts): CacheCare {
  const { cache, log, closing } = parts.options
  return new CacheCare({
    cache,
    log,
    closing,
    state: () => parts.syncer.state,
    invocations: () => parts.report.invocations(),
    manifestOf: (row) => findManifest(parts, row.function_id, row.version, row.sha256),
    ensure: (manifest) => parts.source.ensure(manifest),
  })
}

/** Null when the node is told not to compile. */
export function makeCompiler(parts: NodeParts): Compiler | null {
  const { config, cache, log, closing, commands } = parts.options
  if (!config.compile) return null
  return new Compiler({
    store: parts.compiledStore,
    command: commands.compile,
    processor: processorName(),
    log,
    closing,
    memory: parts.memory,
    artifactPath: (manifest) => cache.path(manifest),
    swap: async (manifest, compiled, loaded) => {
      const slots = parts.arms.find(manifest)
      if (slots === null) throw new EdgefnError('overloaded', 'The function is not in service.')
      const fn = workerFunction(manifest, slots, cache.path(manifest), compiled)
      await parts.supervisor.prepare(fn)
      loaded()
      parts.supervisor.upgrade(fn)
    },
  })
}

/** Functions in service from now on get their compiled forms, but for those that may not be loaded for a while. */
export function wantCompiled(parts: NodeParts): void {
  const wanted = [...parts.syncer.state.functions.values()].flatMap(servedArms)
  parts.compiler?.want(wanted.filter((manifest) => parts.health.refusal(manifest) === null))
}

export function noteUses(parts: NodeParts): void {
  if (parts.syncer.state.synced) parts.functionData.sweep(parts.syncer.state.functions)
  parts.cacheCare.noteUses()
}
