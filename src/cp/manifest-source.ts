/** Builds the manifest of a function version, for plans and for deploy notices. */

import type { DeploymentId, FunctionId } from '../protocol/ids.ts'
import type { Manifest } from '../protocol/manifest.ts'
import type { SplitView } from '../protocol/split.ts'
import type { Sql } from './db/database.ts'
import type { FunctionLookup, PresignDownload, ReadyVersion } from './lookup.ts'

/** What a node serves of a function under a deployment: a version, or a split, of which that is the heaviest. */
export interface Served {
  readonly function_id: FunctionId
  readonly version: number
  readonly split: SplitView | null
  readonly deployment_id: DeploymentId
}

/** The manifest of what is served, with URLs presigned now. Throws what the lookup throws. */
export type ManifestSource = (sql: Sql, served: Served) => Promise<Manifest>

/** Puts a manifest together; pure [R2.2 P3]. */
export function buildManifest(
  ready: ReadyVersion,
  deploymentId: DeploymentId,
  artifactUrl: string,
): Manifest {
  return {
    function_id: ready.function_id,
    name: ready.name,
    version: ready.version,
    deployment_id: deploymentId,
    abi: ready.abi,
    entrypoint: ready.entrypoint,
    memory_pages: ready.memory_pages,
    max_execution_ms: ready.max_execution_ms,
    quotas: ready.quotas,
    env: ready.env,
    // Values are put in where a node asks for its plan (`secrets/reveal.ts`), so that no notice ever carries one.
    secrets: {},
    http_allow: ready.http_allow,
    isolation: ready.isolation,
    artifact_url: artifactUrl,
    sha256: ready.sha256,
    size_bytes: ready.size_bytes,
    signature: ready.signature,
  }
}

export function createManifestSource(deps: {
  readonly functions: FunctionLookup
  readonly presign: PresignDownload
}): ManifestSource {
  async function versionManifest(
    sql: Sql,
    { function_id, deployment_id }: Served,
    version: number,
  ) {
    const ready = await deps.functions.version(sql, function_id, version)
    const { url } = await deps.presign(ready.sha256)
    return buildManifest(ready, deployment_id, url)
  }

  return async (sql, served) => {
    const main = await versionManifest(sql, served, served.version)
    const { split } = served
    if (split === null) return main
    const arms: NonNullable<Manifest['split']>['arms'] = []
    for (const { version, weight } of split.versions) {
      if (version === served.version) continue
      arms.push({ weight, function: await versionManifest(sql, served, version) })
    }
    const weight = split.versions.find(({ version }) => version === served.version)?.weight
    if (weight === undefined) throw new Error('The version of a split is none of its versions.')
    return { ...main, split: { sticky: split.sticky, weight, arms } }
  }
}
