/** Modules in a directory: `DIR/sha256/ab/abcdef….wasm`, uploads in `DIR/uploads/`; served by the control plane itself. */

import { constants } from 'node:fs'
import { access, mkdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { EdgefnError } from '../../../errors.ts'
import type { Sha256 } from '../../../protocol/ids.ts'
import { isMissing, readOrCreateSecret, syncFolder, writeDurably } from '../../durable-file.ts'
import { assertDigest, assertUploadSize } from '../digest.ts'
import type { ArtifactStore, PresignedUrl, UploadKey } from '../store.ts'
import type { SignedUrls } from './signed-url.ts'
import { createSignedUrls, newUrlKey } from './signed-url.ts'

export interface FsArtifactStoreOptions {
  /** Absolute. */
  readonly dir: string
  /** Absolute path of the file that keeps the URL key. */
  readonly key_file: string
  readonly public_url: () => string
}

/** The path of a module's download below the public URL. */
export function artifactPath(sha256: string): string {
  return `/artifacts/${sha256}`
}

/** The path of a version's upload below the public URL. */
export function uploadPath(key: UploadKey): string {
  return `/uploads/${key.function_id}/${key.version}`
}

export class FsArtifactStore implements ArtifactStore {
  readonly #options: FsArtifactStoreOptions
  #urls: SignedUrls | null = null

  constructor(options: FsArtifactStoreOptions) {
    this.#options = options
  }

  /** Signs and verifies the URLs that `mountArtifacts` serves. */
  get urls(): SignedUrls {
    if (this.#urls === null) throw new Error('The artifact store is used before ensure().')
    return this.#urls
  }

  async ensure(): Promise<void> {
    await available(async () => {
      await mkdir(join(this.#options.dir, 'sha256'), { recursive: true, mode: 0o700 })
      // What was uploaded and not completed when the process ended is uploaded again.
      await rm(this.#uploads(), { recursive: true, force: true })
      await mkdir(this.#uploads(), { recursive: true, mode: 0o700 })
    })
    const key = await readOrCreateSecret(this.#options.key_file, async () => newUrlKey())
    this.#urls = createSignedUrls(key.trim(), this.#options.public_url)
  }

  async check(): Promise<void> {
    await available(() => access(this.#options.dir, constants.W_OK | constants.R_OK))
  }

  async put(sha256: Sha256, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    assertDigest(sha256, bytes)
    await available(async () => {
      const path = this.#file(sha256)
      const folder = dirname(path)
      const made = await mkdir(folder, { recursive: true, mode: 0o700 })
      // A new folder is an entry of the one above, which has to be on disk as well.
      if (made !== undefined) await syncFolder(dirname(folder))
      await writeDurably(path, bytes)
    })
  }

  async open(sha256: Sha256): Promise<ReadableStream<Uint8Array> | null> {
    const file = Bun.file(this.#file(sha256))
    return (await available(() => file.exists())) ? file.stream() : null
  }

  async head(sha256: Sha256): Promise<{ readonly size_bytes: number } | null> {
    return available(async () => {
      try {
        return { size_bytes: (await stat(this.#file(sha256))).size }
      } catch (error) {
        if (isMissing(error)) return null
        throw error
      }
    })
  }

  async delete(sha256: Sha256): Promise<void> {
    await available(() => rm(this.#file(sha256), { force: true }))
  }

  location(sha256: Sha256): string {
    return `${this.#options.public_url()}${artifactPath(sha256)}`
  }

  async presignDownload(sha256: Sha256, seconds: number): Promise<PresignedUrl> {
    return this.urls.sign('GET', artifactPath(sha256), seconds)
  }

  async presignUpload(key: UploadKey, seconds: number): Promise<PresignedUrl> {
    return this.urls.sign('PUT', uploadPath(key), seconds)
  }

  /** Keeps the body of a PUT until it is completed; called by `mountArtifacts`. */
  async stageUpload(key: UploadKey, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    assertUploadSize(bytes.byteLength)
    await available(() => writeDurably(this.#upload(key), bytes))
  }

  async takeUpload(key: UploadKey): Promise<Uint8Array<ArrayBuffer> | null> {
    return available(async () => {
      try {
        return new Uint8Array(await readFile(this.#upload(key)))
      } catch (error) {
        if (isMissing(error)) return null
        throw error
      }
    })
  }

  async deleteUpload(key: UploadKey): Promise<void> {
    await available(() => rm(this.#upload(key), { force: true }))
  }

  #file(sha256: Sha256): string {
    return join(this.#options.dir, 'sha256', sha256.slice(0, 2), `${sha256}.wasm`)
  }

  #uploads(): string {
    return join(this.#options.dir, 'uploads')
  }

  #upload(key: UploadKey): string {
    return join(this.#uploads(), `${key.function_id}-${key.version}.wasm`)
  }
}

async function available<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof EdgefnError) throw cause
    throw new EdgefnError(
      'artifact_store_unavailable',
      'The artifact directory cannot be used now.',
      { cause },
    )
  }
}
