/** Downloads an artifact into the cache: signature first, then the bytes, whose digest the cache checks while it writes. */

import { createPublicKey, verify } from 'node:crypto'

import { EdgefnError, errorMessage } from '../../../errors.ts'
import type { Manifest } from '../../../protocol/manifest.ts'
import { artifactStatement } from '../../../protocol/manifest.ts'
import type { ArtifactCache } from '../cache/artifact-cache.ts'

/** A download that brings no byte for this long is given up; its whole length is not limited, links may be slow. */
const stallMsMax = 15_000

interface FetcherDeps {
  readonly cache: ArtifactCache
  /** The control plane's Ed25519 key: base64url of the raw 32 bytes. */
  signingKey(): string
  /** Aborted when the agent ends. */
  readonly closing: AbortSignal
  /** A fresh URL for an artifact whose presigned one has expired; null when it is not to be had. Throws `cp_unreachable`. */
  renewUrl(manifest: Manifest): Promise<string | null>
}

/** One try to have the artifact in the cache; returns its path. */
export type FetchArtifact = (manifest: Manifest) => Promise<string>

/**
 * Throws `artifact_mismatch` for a bad signature or (after one more download) wrong bytes, `artifact_store_unavailable`
 * when the store does not give them, and what the cache throws [R3.2 R3.3].
 */
export function createFetcher(deps: FetcherDeps): FetchArtifact {
  return async function fetchArtifact(manifest) {
    checkSignature(manifest, deps.signingKey())
    try {
      return await download(deps, manifest)
    } catch (thrown) {
      // Bytes may be damaged on the way once; twice means that the store has other ones.
      if (!(thrown instanceof EdgefnError) || thrown.code !== 'artifact_mismatch') throw thrown
      return download(deps, manifest)
    }
  }
}

function checkSignature(manifest: Manifest, signingKey: string): void {
  const key = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: signingKey },
    format: 'jwk',
  })
  const signature = Buffer.from(manifest.signature, 'base64url')
  if (verify(null, artifactStatement(manifest.sha256), key, signature)) return
  throw new EdgefnError(
    'artifact_mismatch',
    `The signature of ${manifest.name} version ${manifest.version} is not the control plane's.`,
  )
}

async function download(deps: FetcherDeps, manifest: Manifest): Promise<string> {
  const stall = new StallTimer()
  const signal = AbortSignal.any([stall.signal, deps.closing])
  try {
    let response = await request(manifest.artifact_url, stall, signal)
    if (response.status === 403 || response.status === 410) {
      await response.body?.cancel()
      const url = await deps.renewUrl(manifest)
      if (url !== null) response = await request(url, stall, signal)
    }
    if (!response.ok || response.body === null) {
      await response.body?.cancel()
      throw unavailable(manifest, `it answered ${response.status}`)
    }
    return await deps.cache.put(manifest, watched(response.body, stall))
  } catch (thrown) {
    if (thrown instanceof EdgefnError || isSystemError(thrown)) throw thrown
    const why = stall.expired ? `nothing came for ${stallMsMax} ms` : errorMessage(thrown)
    throw unavailable(manifest, why, thrown)
  } finally {
    stall.stop()
  }
}

function request(url: string, stall: StallTimer, signal: AbortSignal): Promise<Response> {
  stall.restart()
  return fetch(url, { signal })
}

async function* watched(
  body: ReadableStream<Uint8Array>,
  stall: StallTimer,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    stall.restart()
    yield chunk
  }
}

class StallTimer {
  readonly #abort = new AbortController()
  #handle: ReturnType<typeof setTimeout> | undefined

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  get expired(): boolean {
    return this.#abort.signal.aborted
  }

  restart(): void {
    clearTimeout(this.#handle)
    this.#handle = setTimeout(() => this.#abort.abort(), stallMsMax)
  }

  stop(): void {
    clearTimeout(this.#handle)
  }
}

/** Errors of the local disk carry `syscall`; errors of the connection do not. */
function isSystemError(thrown: unknown): boolean {
  const { syscall } = thrown as { syscall?: unknown }
  return (
    typeof syscall === 'string' && ['open', 'write', 'fsync', 'rename', 'mkdir'].includes(syscall)
  )
}

function unavailable(manifest: Manifest, why: string, cause?: unknown): EdgefnError {
  return new EdgefnError(
    'artifact_store_unavailable',
    `${manifest.name} version ${manifest.version} could not be fetched from the artifact store: ${why}.`,
    cause === undefined ? {} : { cause },
  )
}
