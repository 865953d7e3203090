/** The local artifact cache: files, their index rows and the LRU limits, kept in agreement (SPEC 5) [R15]. */

import type { Database } from 'bun:sqlite'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import { EdgefnError } from '../../../errors.ts'
import type { Log } from '../../../telemetry/log.ts'
import { artifactKey } from '../node-state.ts'
import { digestOfFile, isDiskFull, removeBlob, sizeOfFile, sweepBlobs, writeBlob } from './blobs.ts'
import type { CacheLimits } from './eviction.ts'
import { chooseEvictions, leastRecentlyUsed } from './eviction.ts'

export interface ArtifactId {
  readonly function_id: string
  readonly version: number
  readonly sha256: string
}

export interface ArtifactRow extends ArtifactId {
  /** Relative to the cache directory. */
  readonly path: string
  readonly size_bytes: number
  /** Unix milliseconds. */
  readonly last_used: number
}

interface ArtifactCacheOptions extends CacheLimits {
  readonly dir: string
  readonly database: Database
  readonly log: Log
}

export class ArtifactCache {
  readonly #options: ArtifactCacheOptions
  readonly #rows = new Map<string, ArtifactRow>()
  /** Keys whose `last_used` is newer in memory than in the database. */
  readonly #touched = new Set<string>()
  #inService: ReadonlySet<string> = new Set()
  /** Room promised to files being written. */
  #reserved = { bytes: 0, files: 0 }

  constructor(options: ArtifactCacheOptions) {
    this.#options = options
  }

  /** Brings index and disk into agreement by name and size; contents are for `verify`. */
  open(): void {
    const { dir, database, log } = this.#options
    mkdirSync(dir, { recursive: true })
    const stale: string[] = []
    for (const row of database.query<ArtifactRow, []>('SELECT * FROM artifacts').all()) {
      const key = artifactKey(row)
      if (sizeOfFile(join(dir, row.path)) === row.size_bytes) this.#rows.set(key, row)
      else stale.push(key)
    }
    for (const key of stale) this.#deleteRow(key)
    const known = new Set([...this.#rows.values()].map((row) => join(dir, row.path)))
    const swept = sweepBlobs(dir, known)
    if (stale.length + swept > 0) {
      log.warn('Cache entries without their file, and files without their entry, were removed.', {
        context: { entries: stale.length, files: swept },
      })
    }
  }

  /**
   * Reads every file that was there at `open` and removes those whose SHA-256 is not the recorded one [R15.4]. Files in
   * service come first. Workers check what they load, so serving does not wait for this. Returns what was removed; stops
   * early when `signal` is aborted.
   */
  async verify(signal?: AbortSignal): Promise<ArtifactRow[]> {
    const rows = [...this.#rows.values()]
    const first = rows.filter((row) => this.#inService.has(artifactKey(row)))
    const rest = rows.filter((row) => !this.#inService.has(artifactKey(row)))
    const damaged: ArtifactRow[] = []
    for (const row of [...first, ...rest]) {
      if (signal?.aborted === true) break
      if (await this.dropIfDamaged(row)) damaged.push(row)
    }
    return damaged
  }

  /** Reads one file and removes it when its SHA-256 is not the recorded one; true when it was removed. */
  async dropIfDamaged(id: ArtifactId): Promise<boolean> {
    const path = this.path(id)
    if (path === null) return false
    const sha256 = await digestOfFile(path)
    // It may have been replaced or evicted meanwhile.
    if (sha256 === id.sha256 || this.path(id) === null) return false
    this.#options.log.error('A cached artifact is damaged and was removed.', {
      function_id: id.function_id,
      error_type: 'artifact_mismatch',
      context: { version: id.version, expected: id.sha256, got: sha256 },
    })
    this.drop(id)
    return true
  }

  /** Absolute path of the artifact, or null when it is not here with this digest. */
  path(id: ArtifactId): string | null {
    const row = this.#rows.get(artifactKey(id))
    return row?.sha256 === id.sha256 ? join(this.#options.dir, row.path) : null
  }

  /**
   * Stores an artifact and returns its path [R3.3 P4]. Throws `artifact_mismatch` for other bytes than announced and
   * `function_unavailable` when neither the limits nor the disk have room beside what is in service.
   */
  async put(
    id: ArtifactId & { readonly size_bytes: number },
    body: AsyncIterable<Uint8Array>,
  ): Promise<string> {
    const path = join(id.function_id, `${id.version}.wasm`)
    this.#makeRoom(id.size_bytes)
    this.#reserved.bytes += id.size_bytes
    this.#reserved.files += 1
    try {
      await writeBlob(join(this.#options.dir, path), id, body, () => this.freeSpace())
      this.#store({
        function_id: id.function_id,
        version: id.version,
        sha256: id.sha256,
        path,
        size_bytes: id.size_bytes,
        last_used: Date.now(),
      })
    } catch (thrown) {
      if (!isDiskFull(thrown)) throw thrown
      throw new EdgefnError(
        'function_unavailable',
        `The disk of the cache is full: ${id.size_bytes} bytes are needed and nothing is left to evict.`,
        { cause: thrown },
      )
    } finally {
      this.#reserved.bytes -= id.size_bytes
      this.#reserved.files -= 1
    }
    return join(this.#options.dir, path)
  }

  /** Forgets an artifact and removes its file, also one in service (it is damaged). */
  drop(id: { readonly function_id: string; readonly version: number }): void {
    const key = artifactKey(id)
    const row = this.#rows.get(key)
    if (row === undefined) return
    // The file first: on a full disk it is what frees the room that the index needs to write at all.
    removeBlob(join(this.#options.dir, row.path))
    this.#deleteRow(key)
  }

  /** Names what must not be evicted. What leaves service counts as used until now. */
  setInService(keys: ReadonlySet<string>): void {
    for (const key of this.#inService) if (!keys.has(key)) this.touch(key)
    this.#inService = keys
  }

  /** Notes a use in memory; `flush` writes it. */
  touch(key: string): void {
    const row = this.#rows.get(key)
    if (row === undefined) return
    this.#rows.set(key, { ...row, last_used: Date.now() })
    this.#touched.add(key)
  }

  /** Writes the noted uses in one transaction. */
  flush(): void {
    if (this.#touched.size === 0) return
    const { database } = this.#options
    const update = database.query(
      'UPDATE artifacts SET last_used = ?1 WHERE function_id = ?2 AND version = ?3',
    )
    const rows = [...this.#touched].map((key) => this.#rows.get(key))
    database.transaction(() => {
      for (const row of rows) if (row) update.run(row.last_used, row.function_id, row.version)
    })()
    this.#touched.clear()
  }

  rows(): readonly ArtifactRow[] {
    return [...this.#rows.values()]
  }

  usage(): { bytes: number; files: number } {
    let bytes = 0
    for (const row of this.#rows.values()) bytes += row.size_bytes
    return { bytes, files: this.#rows.size }
  }

  /** Evicts the least recently used file because the disk is full; false when only files in service are left. */
  freeSpace(): boolean {
    const oldest = leastRecentlyUsed(this.#candidates(), this.#inService)[0]
    if (oldest === undefined) return false
    this.#evict(oldest.key)
    return true
  }

  #candidates() {
    return [...this.#rows].map(([key, row]) => ({
      key,
      size_bytes: row.size_bytes,
      last_used: row.last_used,
    }))
  }

  #makeRoom(bytes: number): void {
    const room = { bytes: this.#reserved.bytes + bytes, files: this.#reserved.files + 1 }
    const eviction = chooseEvictions(this.#candidates(), this.#inService, this.#options, room)
    if (!eviction.fits) {
      throw new EdgefnError(
        'function_unavailable',
        `The cache is full of artifacts in service: ${bytes} more bytes do not fit into cache_bytes_max ` +
          `${this.#options.bytes_max} and cache_files_max ${this.#options.files_max}.`,
      )
    }
    for (const key of eviction.keys) this.#evict(key)
  }

  #evict(key: string): void {
    const row = this.#rows.get(key)
    if (row === undefined) return
    this.#options.log.info('An artifact was evicted from the cache.', {
      function_id: row.function_id,
      context: { version: row.version, size_bytes: row.size_bytes },
    })
    this.drop(row)
  }

  /** Enters a file that is in place; when the index cannot take it, the file goes again. */
  #store(row: ArtifactRow): void {
    for (;;) {
      try {
        this.#insertRow(row)
        return
      } catch (thrown) {
        if (isDiskFull(thrown) && this.freeSpace()) continue
        removeBlob(join(this.#options.dir, row.path))
        throw thrown
      }
    }
  }

  #insertRow(row: ArtifactRow): void {
    this.#options.database
      .query(
        `INSERT INTO artifacts (function_id, version, sha256, path, size_bytes, last_used)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET sha256 = excluded.sha256,
         path = excluded.path, size_bytes = excluded.size_bytes, last_used = excluded.last_used`,
      )
      .run(row.function_id, row.version, row.sha256, row.path, row.size_bytes, row.last_used)
    this.#rows.set(artifactKey(row), row)
  }

  #deleteRow(key: string): void {
    this.#rows.delete(key)
    this.#touched.delete(key)
    const [functionId = '', version = ''] = key.split('/')
    try {
      this.#options.database
        .query('DELETE FROM artifacts WHERE function_id = ?1 AND version = ?2')
        .run(functionId, Number(version))
    } catch (thrown) {
      // A row whose file is gone does no harm: the next start drops it.
      if (!isDiskFull(thrown)) throw thrown
    }
  }
}
