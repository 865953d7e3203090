/** Preview tokens, and the manifests that nodes get for them: a version that has no traffic answers to whoever holds one. */

import type { FunctionId } from '../../protocol/ids.ts'
import type { Manifest } from '../../protocol/manifest.ts'
import {
  NO_DEPLOYMENT,
  previewHost,
  previewToken,
  type PreviewClaims,
  type PreviewView,
} from '../../protocol/preview.ts'
import type { RecordAudit } from '../audit/audit.ts'
import type { RequestContext } from '../context.ts'
import type { Database } from '../db/database.ts'
import type { FunctionLookup } from '../lookup.ts'
import type { ManifestSource } from '../manifest-source.ts'

export interface PreviewDeps {
  readonly db: Database
  readonly functions: FunctionLookup
  readonly manifests: ManifestSource
  readonly audit: RecordAudit
  readonly sign: (claims: PreviewClaims) => Promise<string>
  /** Throws `forbidden`. */
  readonly verify: (token: string) => Promise<PreviewClaims>
  /** Where versions are previewed by host name; null: nowhere. */
  readonly domain: string | null
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

export interface PreviewService {
  /**
   * Makes a token for a version, good for so long on every node. It cannot be taken back. Throws `function_not_found`,
   * `version_not_found`, and `module_missing` for a version that was never uploaded.
   */
  create(
    context: RequestContext,
    functionIdOrName: string,
    version: number,
    ttlSeconds: number,
  ): Promise<PreviewView>
  /** The manifest of the version that a token allows. Throws `forbidden`, and what the lookup throws. */
  manifest(token: string): Promise<Manifest>
}

export function createPreviews(deps: PreviewDeps): PreviewService {
  return {
    create: (context, functionIdOrName, version, ttlSeconds) =>
      deps.db.write(async (tx) => {
        const found = await deps.functions.resolve(tx, functionIdOrName)
        const ready = await deps.functions.version(tx, found.id, version)
        const expires = Math.floor(deps.now() / 1000) + ttlSeconds
        const claims = { function_id: found.id, version: ready.version, expires }
        const token = previewToken(claims, await deps.sign(claims))
        const expires_at = new Date(expires * 1000).toISOString()
        await deps.audit(tx, context, {
          resource_type: 'version',
          resource_id: `${found.id}/${ready.version}`,
          operation: 'preview',
          before: null,
          // Not the token: whoever reads the log is not to use it.
          after: { name: found.name, version: ready.version, expires_at },
        })
        const { domain } = deps
        const host = domain === null ? null : previewHost(found.name, ready.version, domain)
        const { id: function_id, name } = found
        return { function_id, name, version: ready.version, token, expires_at, host }
      }),

    manifest: async (token) => {
      const { function_id, version } = await deps.verify(token)
      return deps.manifests(deps.db, {
        function_id: function_id as FunctionId,
        version,
        split: null,
        deployment_id: NO_DEPLOYMENT,
      })
    },
  }
}
