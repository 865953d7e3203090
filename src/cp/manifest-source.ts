/** Builds the manifest of a function version, for plans and for deploy notices. */

import type { DeploymentId, FunctionId } from '../protocol/ids.ts'
import type { Manifest } from '../protocol/manifest.ts'
import type { Sql } from './db/database.ts'
import type { FunctionLookup, PresignDownload, ReadyVersion } from './lookup.ts'

/** The manifest of a version under a deployment, with a URL presigned now. Throws what the lookup throws. */
export type ManifestSource = (
  sql: Sql,
  functionId: FunctionId,
  version: number,
  deploymentId: DeploymentId,
) => Promise<Manifest>

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
  return async (sql, functionId, version, deploymentId) => {
    const ready = await deps.functions.version(sql, functionId, version)
    const { url } = await deps.presign(ready.sha256)
    return buildManifest(ready, deploymentId, url)
  }
}
