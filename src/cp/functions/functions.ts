/** The functions slice put together. */

import { EdgefnError } from '../../errors.ts'
import type { VersionView } from '../../protocol/api.ts'
import { functionIdSchema } from '../../protocol/ids.ts'
import type { Endpoint } from '../endpoint.ts'
import type { CompleteVersion, IngestDeps } from './ingest.ts'
import { createCompleteVersion } from './ingest.ts'
import { requireVersion } from './lookup.ts'
import type { UploadKey } from './modules.ts'
import { functionEndpoints } from './routes.ts'
import type { ServiceDeps } from './service.ts'
import { createFunctionService } from './service.ts'

export type FunctionsOptions = ServiceDeps & IngestDeps

/** What a presigned upload needs; `artifacts/mount.ts` asks for exactly this. */
export interface Uploads {
  /** Throws `version_not_found`, and `version_exists` when the version has its module: versions never change. */
  expectUpload(key: UploadKey): Promise<void>
  completeUpload(key: UploadKey, request: { request_id: string }): Promise<VersionView>
}

export interface Functions {
  readonly endpoints: readonly Endpoint[]
  readonly completeVersion: CompleteVersion
  readonly uploads: Uploads
}

/** `options.lookup` comes from `createFunctionLookup`, because the deployments slice, which gives the hooks, needs it too. */
export function createFunctions(options: FunctionsOptions): Functions {
  const { db } = options
  const service = createFunctionService(options)
  const completeVersion = createCompleteVersion(options)

  const uploads: Uploads = {
    async expectUpload(key) {
      const id = functionIdSchema.parse(key.function_id)
      const { state } = await requireVersion(db, id, key.version)
      if (state === 'pending_upload') return
      throw new EdgefnError(
        'version_exists',
        `Version ${key.version} has its module already; register a new version.`,
      )
    },

    async completeUpload(key, { request_id }) {
      const id = functionIdSchema.parse(key.function_id)
      const { created_by: keyId } = await requireVersion(db, id, key.version)
      // A presigned URL carries no credential: whoever holds it acts for the key that registered the version.
      const caller = { kind: 'user', key_id: keyId, name: 'upload URL', role: 'developer' } as const
      return completeVersion(id, key.version, { caller, request_id, ip: '' })
    },
  }

  return {
    endpoints: functionEndpoints({ ...options, service, completeVersion }),
    completeVersion,
    uploads,
  }
}
