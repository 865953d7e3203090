/** A module file becomes a version of a function: register, upload, complete. */

import { registrationViewSchema, versionViewSchema, type VersionView } from '../../protocol/api.ts'
import type { Abi, Isolation, Quotas } from '../../protocol/manifest.ts'
import type { ApiClient } from '../api-client.ts'
import { bytesText } from '../output.ts'
import type { Progress } from '../progress.ts'

/** Fields of a registration that were given; the control plane has defaults for the rest. */
export interface VersionRequest {
  readonly name: string
  readonly abi: Abi | null
  readonly entrypoint: string
  readonly memory_pages: number
  readonly max_execution_ms?: number
  readonly quotas: Quotas
  readonly message: string
  readonly env: Readonly<Record<string, string>>
  readonly secrets: Readonly<Record<string, string>>
  readonly http_allow: readonly string[]
  readonly isolation: Isolation
  readonly force: boolean
}

/** The new version, its module stored and checked by the control plane. */
export async function publishVersion(
  client: ApiClient,
  request: VersionRequest,
  module: Uint8Array,
  progress: Progress,
): Promise<VersionView> {
  const registration = await client.post('/functions', registrationViewSchema, request)
  const total = bytesText(module.byteLength)
  await client.upload(registration.upload_url, module, (sent) =>
    progress.status(`uploading ${bytesText(sent)} of ${total}`),
  )
  const { pathname, search } = new URL(registration.complete_url)
  const path = pathname.replace(/^.*\/api\/v1(?=\/)/, '') + search
  const version = await client.post(path, versionViewSchema)
  progress.line(`uploaded ${request.name} version ${version.version}, ${total}`)
  return version
}
