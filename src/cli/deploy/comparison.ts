/** What the control plane would say of a new version beside the newest one, before anything is uploaded. */

import { EdgefnError } from '../../errors.ts'
import { functionDetailSchema } from '../../protocol/api.ts'
import { compare, type VersionSurface } from '../../protocol/comparison.ts'
import type { Compatibility } from '../../protocol/compatibility.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { partsOfReference, secretViewSchema } from '../../protocol/secrets.ts'
import { versionDetailSchema, type VersionDetail } from '../../protocol/versions.ts'
import type { Inspection } from '../../wasm/check.ts'
import { ControlPlaneError, type ApiClient } from '../api-client.ts'
import { memoryPagesFor } from './module-file.ts'
import type { VersionFields } from './upload-module.ts'

/**
 * Compares as the control plane will once it has the module. Throws `incompatible_version` with every reason when it
 * would refuse the version and that is not forced, `invalid_field` for a secret that is not there.
 */
export async function comparedWithNewest(
  client: ApiClient,
  fields: VersionFields,
  inspection: Inspection,
): Promise<Compatibility> {
  await requireSecrets(client, fields)
  const newest = await newestVersion(client, fields.name)
  if (newest?.abi == null || inspection.abi === null) return { compared_with: null, findings: [] }
  const after = surfaceOf(fields, inspection, newest.memory_pages)
  const before: VersionSurface = {
    ...newest,
    abi: newest.abi,
    imports: newest.imports ?? after.imports,
    variables: [...Object.keys(newest.env), ...Object.keys(newest.secrets)],
  }
  const findings = compare(before, after)
  const reasons = findings.filter(({ severity }) => severity === 'refuse')
  if (reasons.length === 0 || fields.force) return { compared_with: newest.version, findings }
  const told = reasons.map(({ message }) => `\n  ${message}`).join('')
  throw new EdgefnError(
    'incompatible_version',
    `${fields.file} would be refused, it is not compatible with version ${newest.version}:${told}\n--force takes it nevertheless.`,
  )
}

async function newestVersion(client: ApiClient, name: string): Promise<VersionDetail | null> {
  try {
    const { latest } = await client.get(`/functions/${name}`, functionDetailSchema)
    if (latest === null) return null
    return await client.get(`/functions/${name}/versions/${latest.version}`, versionDetailSchema)
  } catch (error) {
    if (error instanceof ControlPlaneError && error.status === 404) return null
    throw error
  }
}

function surfaceOf(
  fields: VersionFields,
  inspection: Inspection,
  pagesBefore: number,
): VersionSurface {
  const { entrypoint, quotas, env, secrets, http_allow, isolation } = fields
  const pages = Math.max(memoryPagesFor(inspection), pagesBefore)
  return {
    ...{ quotas, http_allow, isolation },
    abi: inspection.abi ?? 'edgefn',
    entrypoint: inspection.entrypoint ?? entrypoint,
    imports: inspection.imports.map(({ module, name }) => `${module}.${name}`),
    memory_pages: fields.memory_pages ?? pages,
    max_execution_ms: fields.max_execution_ms ?? LIMITS.executionMsDefault,
    variables: [...Object.keys(env), ...Object.keys(secrets)],
  }
}

async function requireSecrets(client: ApiClient, fields: VersionFields): Promise<void> {
  const wanted = Object.entries(fields.secrets)
  if (wanted.length === 0) return
  const known = await client.list('/secrets', secretViewSchema)
  for (const [variable, reference] of wanted) {
    const { name, number } = partsOfReference(reference)
    const usable = known.filter(
      (secret) => secret.name === name && [null, fields.name].includes(secret.function_name),
    )
    // One of the function's own goes before one for all.
    const secret = usable.find(({ function_name: owner }) => owner !== null) ?? usable[0]
    if (secret !== undefined && (number ?? 1) <= secret.number) continue
    throw new EdgefnError(
      'invalid_field',
      `--secret: ${variable} would be refused: there is no secret ${reference} that the function may use.`,
    )
  }
}
