/** What other slices may ask about functions: the implementation of `FunctionLookup`. */

import { EdgefnError } from '../../errors.ts'
import type { VersionView } from '../../protocol/api.ts'
import type { FunctionId, Sha256 } from '../../protocol/ids.ts'
import type { Sql } from '../db/database.ts'
import type { FunctionLookup, ReadyVersion } from '../lookup.ts'
import type { StoredVersion } from './store.ts'
import { findFunction, findVersion, listVersions } from './store.ts'

/** The address of a stored module without a signature; given by the artifact store. */
export type Location = (sha256: Sha256) => string

export function createFunctionLookup(location: Location): FunctionLookup {
  return {
    async resolve(sql, idOrName) {
      const found = await findFunction(sql, idOrName)
      if (found !== null) return found
      throw new EdgefnError('function_not_found', `There is no function ${quoted(idOrName)}.`)
    },

    async version(sql, functionId, version) {
      const stored =
        version === null
          ? await newestReady(sql, functionId)
          : await requireVersion(sql, functionId, version)
      return readyVersion(stored, location)
    },
  }
}

/** Throws `version_not_found`. */
export async function requireVersion(
  sql: Sql,
  functionId: FunctionId,
  version: number,
): Promise<StoredVersion> {
  const stored = await findVersion(sql, functionId, version)
  if (stored !== null) return stored
  const name = (await findFunction(sql, functionId))?.name ?? functionId
  throw new EdgefnError('version_not_found', `Function ${name} has no version ${version}.`)
}

/** The version as the API shows it. */
export function versionView(stored: StoredVersion, location: Location): VersionView {
  const { signature: _signature, created_by: _createdBy, facts: _facts, ...view } = stored
  return { ...view, artifact_url: view.sha256 === null ? null : location(view.sha256) }
}

async function newestReady(sql: Sql, functionId: FunctionId): Promise<StoredVersion> {
  const found = await findFunction(sql, functionId)
  if (found?.latest_version != null) return requireVersion(sql, functionId, found.latest_version)
  const [waiting] = await listVersions(sql, functionId, { cursor: undefined, rows: 1 })
  if (waiting !== undefined) throw moduleMissing(waiting)
  throw new EdgefnError(
    'version_not_found',
    `Function ${found?.name ?? functionId} has no version.`,
  )
}

function readyVersion(stored: StoredVersion, location: Location): ReadyVersion {
  const { abi, sha256, size_bytes, signature } = stored
  if (abi === null || sha256 === null || size_bytes === null || signature === null) {
    throw moduleMissing(stored)
  }
  for (const [variable, { name, number, deleted }] of Object.entries(stored.secrets)) {
    if (!deleted) continue
    throw new EdgefnError(
      'conflict',
      `Version ${stored.version} of ${stored.name} needs secret ${name}@${number} for ${variable}, which was deleted.`,
    )
  }
  return { ...versionView(stored, location), abi, sha256, size_bytes, signature }
}

/** The version waits for its upload. */
export function moduleMissing(version: { name: string; version: number }): EdgefnError {
  return new EdgefnError(
    'module_missing',
    `Version ${version.version} of ${version.name} has no module yet; upload it first.`,
  )
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 100))
}
