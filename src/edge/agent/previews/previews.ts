/**
 * Versions that serve for previews, beside the desired state and not part of it: fetched when a request with a token asks for
 * one, gone when nobody has called it for a while, when its function is deleted, or with the agent. They have no traffic, and
 * stay interpreted.
 */

import { EdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { Manifest } from '../../../protocol/manifest.ts'
import type { Log } from '../../../telemetry/log.ts'
import { artifactKey } from '../node-state.ts'
import type { Arm } from '../supervise/arms.ts'

/** How often it is looked which of them are called. */
const lookMs = 15_000

export interface PreviewsDeps {
  /** What the control plane gives for a token. Throws `forbidden`, `version_not_found`, `cp_unreachable`. */
  manifestFor(token: string): Promise<Manifest>
  /** Has the module loaded in every worker. Throws why it cannot be. */
  bringUp(manifest: Manifest): Promise<void>
  /** Gives the workers a table with what is served now. */
  retable(): Promise<void>
  /** Calls of a version so far. */
  calls(arm: Arm): number
  /** Whether a version has traffic on this node, so that it needs no place among the previews. */
  hasTraffic(arm: Arm): boolean
  readonly log: Log
  /** Milliseconds of a monotonic clock. */
  now(): number
}

interface Preview {
  readonly manifest: Manifest
  /** False while its module is fetched and loaded. */
  ready: boolean
  calls: number
  usedMs: number
}

export class Previews {
  readonly #deps: PreviewsDeps
  readonly #previews = new Map<string, Preview>()
  /** Of the versions that are being brought up. */
  readonly #running = new Map<string, Promise<void>>()
  #domain: string | null = null
  #timer: ReturnType<typeof setInterval> | null = null

  constructor(deps: PreviewsDeps) {
    this.#deps = deps
  }

  /** Where the control plane says that versions are previewed by host name; null: nowhere, or it has not said yet. */
  get domain(): string | null {
    return this.#domain
  }

  /** Those that serve. */
  serving(): Manifest[] {
    return [...this.#previews.values()].flatMap(({ ready, manifest }) => (ready ? [manifest] : []))
  }

  /** Keys of the artifacts that they need, also of those that do not serve yet. */
  keys(): ReadonlySet<string> {
    return new Set(this.#previews.keys())
  }

  /** The manifest of a version that is, or is to be, served for previews. */
  find(arm: Arm): Manifest | null {
    return this.#previews.get(artifactKey(arm))?.manifest ?? null
  }

  open(): void {
    this.#timer = setInterval(() => void this.look(), lookMs)
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  setDomain(domain: string | null): void {
    if (domain === this.#domain) return
    this.#domain = domain
    void this.#retable()
  }

  /**
   * Resolves when every worker serves the version, for which a worker has seen the token. Throws what the control plane
   * refuses with, `overloaded` when all that there may be are in use, and why the version cannot be loaded.
   */
  async bring(arm: Arm, token: string): Promise<void> {
    const key = artifactKey(arm)
    // Not before the workers have it in their tables.
    if (!this.#running.has(key) && this.#previews.get(key)?.ready === true) return
    const running = this.#running.get(key) ?? this.#bring(key, token)
    this.#running.set(key, running)
    try {
      await running
    } finally {
      this.#running.delete(key)
    }
  }

  /** Takes the functions' versions out of service: they were deleted. */
  drop(functionIds: readonly string[]): void {
    const gone = new Set(functionIds)
    const keys = [...this.#previews].flatMap(([key, { manifest }]) =>
      gone.has(manifest.function_id) ? [key] : [],
    )
    void this.#end(keys)
  }

  async #bring(key: string, token: string): Promise<void> {
    const { manifestFor, bringUp, retable, calls, log, now } = this.#deps
    const manifest = await manifestFor(token)
    if (artifactKey(manifest) !== key) {
      throw new EdgefnError('forbidden', 'The preview token is of another version.')
    }
    this.#makeRoom()
    const preview = { manifest, ready: false, calls: calls(manifest), usedMs: now() }
    this.#previews.set(key, preview)
    try {
      await bringUp(manifest)
      preview.ready = true
      await retable()
    } catch (thrown) {
      this.#previews.delete(key)
      throw thrown
    }
    log.info('A version serves for previews.', {
      function_id: manifest.function_id,
      context: { name: manifest.name, version: manifest.version },
    })
  }

  /** Gives up the one that was not called for longest when there are as many as there may be. */
  #makeRoom(): void {
    if (this.#previews.size < LIMITS.previewsMax) return
    this.#note()
    const idle = [...this.#previews]
      .filter(([, { ready }]) => ready)
      .sort(([, a], [, b]) => a.usedMs - b.usedMs)[0]
    if (idle === undefined || this.#deps.now() - idle[1].usedMs < LIMITS.previewIdleMsMin) {
      const message = `The node previews ${LIMITS.previewsMax} versions already.`
      throw new EdgefnError('overloaded', message)
    }
    this.#previews.delete(idle[0])
  }

  #note(): void {
    for (const preview of this.#previews.values()) {
      const calls = this.#deps.calls(preview.manifest)
      if (calls === preview.calls) continue
      preview.calls = calls
      preview.usedMs = this.#deps.now()
    }
  }

  /** Ends those that nobody calls, and those that have traffic now. */
  async look(): Promise<void> {
    this.#note()
    const before = this.#deps.now() - LIMITS.previewIdleMsMax
    const idle = [...this.#previews].flatMap(([key, { ready, usedMs, manifest }]) =>
      ready && (usedMs <= before || this.#deps.hasTraffic(manifest)) ? [key] : [],
    )
    await this.#end(idle)
  }

  async #end(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return
    for (const key of keys) this.#previews.delete(key)
    await this.#retable()
  }

  async #retable(): Promise<void> {
    try {
      await this.#deps.retable()
    } catch (thrown) {
      // With the next table of a sync it is so.
      this.#deps.log.failure('The workers could not be told of a preview that ended.', thrown)
    }
  }
}
