/** Modules in an S3 bucket: `sha256/ab/abcdef….wasm` and `uploads/…`; clients talk to the bucket by presigned URLs. */

import { S3Client } from 'bun'

import { EdgefnError } from '../../../errors.ts'
import type { Sha256 } from '../../../protocol/ids.ts'
import { assertDigest, assertUploadSize } from '../digest.ts'
import type { ArtifactStore, PresignedUrl, UploadKey } from '../store.ts'

/** Seconds that the URLs live which we make for ourselves, and milliseconds a call on them may take. */
const ownUrlSeconds = 60
const callMsMax = 10_000

export interface S3ArtifactStoreOptions {
  readonly bucket: string
  /** Null is AWS. */
  readonly endpoint: string | null
  readonly region: string
  readonly access_key_id: string
  readonly secret_access_key: string
}

export class S3ArtifactStore implements ArtifactStore {
  readonly #options: S3ArtifactStoreOptions
  readonly #endpoint: string
  readonly #objects: S3Client
  /** Presigns URLs of the bucket itself, which the client knows nothing of: to this one the bucket is an object. */
  readonly #buckets: S3Client

  constructor(options: S3ArtifactStoreOptions) {
    this.#options = options
    this.#endpoint = options.endpoint ?? `https://s3.${options.region}.amazonaws.com`
    const credentials = {
      accessKeyId: options.access_key_id,
      secretAccessKey: options.secret_access_key,
      region: options.region,
      endpoint: this.#endpoint,
    }
    this.#objects = new S3Client({ ...credentials, bucket: options.bucket })
    this.#buckets = new S3Client({ ...credentials, virtualHostedStyle: true })
  }

  async ensure(): Promise<void> {
    const found = await this.#callBucket('HEAD')
    if (found.ok) return
    if (found.status !== 404) throw this.#refusal('looked at', found.status)
    const created = await this.#callBucket('PUT')
    // 409: another control plane has made it meanwhile.
    if (!created.ok && created.status !== 409) throw this.#refusal('created', created.status)
  }

  async check(): Promise<void> {
    const found = await this.#callBucket('HEAD')
    if (!found.ok) throw this.#refusal('looked at', found.status)
  }

  async put(sha256: Sha256, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    assertDigest(sha256, bytes)
    await available(() => this.#objects.write(keyOf(sha256), bytes, { type: 'application/wasm' }))
  }

  async open(sha256: Sha256): Promise<ReadableStream<Uint8Array> | null> {
    // A stream finds out too late that there is no object.
    if ((await this.head(sha256)) === null) return null
    return this.#objects.file(keyOf(sha256)).stream()
  }

  async head(sha256: Sha256): Promise<{ readonly size_bytes: number } | null> {
    const stat = await this.#stat(keyOf(sha256))
    return stat === null ? null : { size_bytes: stat.size }
  }

  async delete(sha256: Sha256): Promise<void> {
    await this.#delete(keyOf(sha256))
  }

  location(sha256: Sha256): string {
    return `s3://${this.#options.bucket}/${keyOf(sha256)}`
  }

  async presignDownload(sha256: Sha256, seconds: number): Promise<PresignedUrl> {
    return this.#presign('GET', keyOf(sha256), seconds)
  }

  async presignUpload(key: UploadKey, seconds: number): Promise<PresignedUrl> {
    return this.#presign('PUT', uploadKeyOf(key), seconds)
  }

  async takeUpload(key: UploadKey): Promise<Uint8Array<ArrayBuffer> | null> {
    const stat = await this.#stat(uploadKeyOf(key))
    if (stat === null) return null
    assertUploadSize(stat.size)
    // The range keeps a larger object that takes its place meanwhile out of memory; the digest is of what is read.
    const object = this.#objects.file(uploadKeyOf(key)).slice(0, stat.size)
    return available(async () => new Uint8Array(await object.arrayBuffer()))
  }

  async deleteUpload(key: UploadKey): Promise<void> {
    await this.#delete(uploadKeyOf(key))
  }

  #presign(method: 'GET' | 'PUT', key: string, seconds: number): PresignedUrl {
    return {
      url: this.#objects.presign(key, { method, expiresIn: seconds }),
      expires_at: new Date(Date.now() + seconds * 1000).toISOString(),
    }
  }

  async #stat(key: string): Promise<{ readonly size: number } | null> {
    return available(async () => {
      try {
        return await this.#objects.stat(key)
      } catch (error) {
        if (isNoSuchKey(error)) return null
        throw error
      }
    })
  }

  async #delete(key: string): Promise<void> {
    await available(async () => {
      try {
        await this.#objects.delete(key)
      } catch (error) {
        if (!isNoSuchKey(error)) throw error
      }
    })
  }

  #callBucket(method: 'HEAD' | 'PUT'): Promise<Response> {
    const { bucket, region } = this.#options
    const url = this.#buckets.presign(bucket, { method, expiresIn: ownUrlSeconds })
    // Only AWS asks for the place, and outside its first region only.
    const body =
      method === 'PUT' && this.#options.endpoint === null && region !== 'us-east-1'
        ? `<CreateBucketConfiguration><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`
        : null
    return available(() => fetch(url, { method, body, signal: AbortSignal.timeout(callMsMax) }))
  }

  #refusal(what: string, status: number): EdgefnError {
    return new EdgefnError(
      'artifact_store_unavailable',
      `Bucket ${this.#options.bucket} at ${this.#endpoint} cannot be ${what}: status ${status}.`,
    )
  }
}

function keyOf(sha256: Sha256): string {
  return `sha256/${sha256.slice(0, 2)}/${sha256}.wasm`
}

function uploadKeyOf(key: UploadKey): string {
  return `uploads/${key.function_id}/${key.version}`
}

function isNoSuchKey(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'NoSuchKey'
}

async function available<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof EdgefnError) throw cause
    throw new EdgefnError('artifact_store_unavailable', 'The S3 store does not answer.', { cause })
  }
}
