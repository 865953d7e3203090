/** What a node does for its cache of artifacts while it serves: notes which are used, and replaces damaged ones. */

import type { Manifest } from '../../../protocol/manifest.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { NodeState } from '../node-state.ts'
import { artifactKey, servedArms } from '../node-state.ts'
import type { ArtifactCache, ArtifactRow } from './artifact-cache.ts'

interface CacheCareDeps {
  readonly cache: ArtifactCache
  readonly log: Log
  readonly closing: AbortSignal
  state(): NodeState
  /** Calls of each function so far. */
  invocations(): ReadonlyMap<string, number>
  /** The manifest of a cached file that is in service or is to be; null when it is neither. */
  manifestOf(row: ArtifactRow): Manifest | null
  ensure(manifest: Manifest): Promise<string>
}

export class CacheCare {
  readonly #deps: CacheCareDeps
  #uses: ReadonlyMap<string, number> = new Map()

  constructor(deps: CacheCareDeps) {
    this.#deps = deps
  }

  /** A function that was called has used its artifact; batches, because the index is not for every request [R15.2]. */
  noteUses(): void {
    const { cache, log, state, invocations } = this.#deps
    const counts = invocations()
    for (const [functionId, entry] of state().functions) {
      const used = (counts.get(functionId) ?? 0) !== (this.#uses.get(functionId) ?? 0)
      if (used) for (const arm of servedArms(entry)) cache.touch(artifactKey(arm))
    }
    this.#uses = counts
    try {
      cache.flush()
    } catch (thrown) {
      // Disk full or ill: the uses stay noted in memory.
      log.failure('Uses of artifacts could not be written to the index.', thrown)
    }
  }

  /** Damaged files go; those in service are fetched again while the workers go on with what they have loaded [R15.4]. */
  async verify(): Promise<void> {
    const { cache, log, closing, manifestOf, ensure } = this.#deps
    try {
      for (const row of await cache.verify(closing)) {
        const manifest = manifestOf(row)
        if (manifest !== null && !closing.aborted) await ensure(manifest)
      }
    } catch (thrown) {
      log.failure('A damaged artifact could not be replaced yet; it is fetched on demand.', thrown)
    }
  }
}
