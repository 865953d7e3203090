/** Has artifacts in the cache when someone needs them: one download at a time per artifact, whoever asks [R4.2 R4.3 P6]. */

import { EdgefnError, toEdgefnError } from '../../../errors.ts'
import type { Manifest } from '../../../protocol/manifest.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { ArtifactCache } from '../cache/artifact-cache.ts'
import { artifactKey } from '../node-state.ts'
import type { FetchRequest } from '../supervise/worker-process.ts'
import type { FetchArtifact } from './fetcher.ts'

/** How long a failed fetch answers later requests too, so that a broken artifact is not downloaded once per request. */
const failureKeptMs = 2_000

interface ArtifactSourceDeps {
  readonly cache: ArtifactCache
  readonly fetchArtifact: FetchArtifact
  readonly log: Log
  /** The manifest that serves or shall serve this version now; null when the node does not hold it. */
  find(functionId: string, version: number, sha256: string): Manifest | null
  /** Something was fetched for a request: a function that could not be loaded may work now. */
  onFetched(functionId: string): void
}

export interface ArtifactSource {
  /** Path of the artifact, fetched when it is not in the cache. One try; throws what the fetcher throws. */
  ensure(manifest: Manifest): Promise<string>
  /** Answers a worker that lacks a module or found it damaged. Throws why it cannot be had. */
  fetchOnDemand(request: FetchRequest): Promise<string>
}

export function createArtifactSource(deps: ArtifactSourceDeps): ArtifactSource {
  const running = new Map<string, Promise<string>>()
  const failures = new Map<string, { readonly at: number; readonly error: EdgefnError }>()

  async function ensure(manifest: Manifest): Promise<string> {
    const cached = deps.cache.path(manifest)
    if (cached !== null) return cached
    const key = `${artifactKey(manifest)}/${manifest.sha256}`
    const shared = running.get(key)
    if (shared !== undefined) return shared
    const fetching = deps.fetchArtifact(manifest).finally(() => running.delete(key))
    running.set(key, fetching)
    return fetching
  }

  async function fetchOnDemand(request: FetchRequest): Promise<string> {
    const { function_id, version, sha256 } = request
    const manifest = deps.find(function_id, version, sha256)
    if (manifest === null) {
      throw new EdgefnError(
        'function_unavailable',
        `This node does not hold version ${version} of function ${function_id} any more.`,
      )
    }
    // Read again here: another worker may have reported it first, and the file may be a new one already.
    if (request.damaged) await deps.cache.dropIfDamaged(request)
    const failed = failures.get(sha256)
    if (failed !== undefined && performance.now() - failed.at < failureKeptMs) throw failed.error
    try {
      const missing = deps.cache.path(manifest) === null
      const path = await ensure(manifest)
      failures.delete(sha256)
      if (missing) deps.onFetched(function_id)
      return path
    } catch (thrown) {
      const error = toEdgefnError(thrown)
      deps.log.warn('An artifact could not be fetched for a request.', {
        function_id,
        error_type: error.code,
        error_message: error.message,
        context: { version, sha256 },
      })
      failures.set(sha256, { at: performance.now(), error })
      setTimeout(() => failures.delete(sha256), failureKeptMs).unref()
      throw error
    }
  }

  return { ensure, fetchOnDemand }
}
