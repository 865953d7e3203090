/** What the functions slice needs from outside for a module: the check, the store, the signature. */

import type { Sha256 } from '../../protocol/ids.ts'
import type { Abi } from '../../protocol/manifest.ts'

/** The version that an upload is for. */
export interface UploadKey {
  readonly function_id: string
  readonly version: number
}

interface PresignedUrl {
  readonly url: string
  readonly expires_at: string
}

/** The part of the artifact store that functions use; see `artifacts/store.ts` for what each promises. */
export interface ModuleStore {
  open(sha256: Sha256): Promise<ReadableStream<Uint8Array> | null>
  put(sha256: Sha256, bytes: Uint8Array<ArrayBuffer>): Promise<void>
  presignDownload(sha256: Sha256, seconds: number): Promise<PresignedUrl>
  presignUpload(key: UploadKey, seconds: number): Promise<PresignedUrl>
  takeUpload(key: UploadKey): Promise<Uint8Array<ArrayBuffer> | null>
  deleteUpload(key: UploadKey): Promise<void>
}

/** What a module says of itself. */
export interface ModuleInspection {
  readonly imports: readonly { readonly module: string; readonly name: string }[]
  readonly exports: readonly { readonly name: string }[]
  readonly memory: { readonly min: number } | null
}

/** Looks at a module that was taken before. */
export type InspectModule = (bytes: Uint8Array) => ModuleInspection

/** Checks and normalises an uploaded module; rejects with an EdgefnError that says what is wrong with it. */
export type CheckModule = (
  bytes: Uint8Array<ArrayBuffer>,
  expected: {
    readonly entrypoint: string
    readonly memory_pages: number
    readonly abi: Abi | null
  },
) => Promise<{
  readonly normalised: Uint8Array
  readonly abi: Abi
  /** The export that answers: the one asked for, or found where the ABI looks for it. */
  readonly entrypoint: string
  readonly inspection: ModuleInspection
}>

/** Ed25519 by the control plane over an artifact's digest, base64url. */
export type SignArtifact = (sha256: string) => Promise<string>
