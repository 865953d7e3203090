/** From uploaded bytes to a ready version: check, normalise, digest, keep, record [R1.2 R1.3 C17.2 P2]. */

import { EdgefnError } from '../../errors.ts'
import type { VersionView } from '../../protocol/api.ts'
import type { Compatibility } from '../../protocol/compatibility.ts'
import type { FunctionId, Sha256 } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { RecordAudit } from '../audit/audit.ts'
import type { RequestContext } from '../context.ts'
import type { Database, Transaction } from '../db/database.ts'
import { comparedWithBefore, factsOf } from './facts.ts'
import type { Location } from './lookup.ts'
import { moduleMissing, requireVersion, versionView } from './lookup.ts'
import type { CheckModule, InspectModule, ModuleStore, SignArtifact, UploadKey } from './modules.ts'
import type { CheckedModule, StoredVersion } from './store.ts'
import { deleteEmptyFunction, deleteWaitingVersion, setVersionReady } from './store.ts'

export interface IngestDeps {
  readonly db: Database
  readonly audit: RecordAudit
  readonly modules: ModuleStore
  readonly checkModule: CheckModule
  readonly inspectModule: InspectModule
  readonly sign: SignArtifact
  readonly location: Location
}

/**
 * Completes a version with what was uploaded for it. Idempotent: a ready version is answered as it is, and of two that
 * run at once one writes and both get the same answer.
 *
 * Throws `module_missing` before an upload. A module that is refused (`module_invalid`, `module_unsupported`,
 * `body_too_large`, `incompatible_version`) leaves nothing: its bytes and its version go, and so does a function that has no version and no
 * route left. The version number may then be used again.
 */
export type CompleteVersion = (
  functionId: FunctionId,
  version: number,
  context: RequestContext,
) => Promise<VersionView>

export function createCompleteVersion(deps: IngestDeps): CompleteVersion {
  const { db, modules, location } = deps

  return async function completeVersion(functionId, version, context) {
    const stored = await requireVersion(db, functionId, version)
    if (stored.state === 'ready') return versionView(stored, location)
    const key = { function_id: functionId, version }
    let checked: { module: CheckedModule; normalised: Uint8Array<ArrayBuffer> }
    let compatibility: Compatibility
    try {
      const bytes = await modules.takeUpload(key)
      // Another completion may have finished between the two looks, and taken the upload away.
      if (bytes === null) return answerWithoutUpload(functionId, version)
      checked = await check(deps, stored, bytes)
      compatibility = await comparedWithBefore(deps, stored, checked.module)
    } catch (error) {
      if (isRefusal(error)) await refuse(deps, stored, key, context, error)
      throw error
    }
    // Kept before it is recorded: a crash in between leaves bytes that nothing names, never a name without bytes.
    await modules.put(checked.module.sha256, checked.normalised)
    await db.write((tx) => makeReady(deps, tx, stored, checked.module, compatibility, context))
    await modules.deleteUpload(key)
    return versionView(await requireVersion(db, functionId, version), location)
  }

  async function answerWithoutUpload(
    functionId: FunctionId,
    version: number,
  ): Promise<VersionView> {
    const now = await requireVersion(db, functionId, version)
    if (now.state === 'ready') return versionView(now, location)
    throw moduleMissing(now)
  }
}

async function check(
  deps: IngestDeps,
  stored: StoredVersion,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<{ module: CheckedModule; normalised: Uint8Array<ArrayBuffer> }> {
  const { memory_pages } = stored
  const expected = { entrypoint: stored.entrypoint, memory_pages, abi: stored.abi }
  const checked = await deps.checkModule(bytes, expected)
  const normalised = new Uint8Array(checked.normalised)
  if (normalised.byteLength > LIMITS.moduleBytesMax) {
    throw new EdgefnError(
      'body_too_large',
      `The normalised module has ${normalised.byteLength} bytes; at most ${LIMITS.moduleBytesMax} are allowed.`,
    )
  }
  const sha256 = sha256Of(normalised)
  const module = {
    abi: checked.abi,
    entrypoint: checked.entrypoint,
    sha256,
    uploaded_sha256: sha256Of(bytes),
    size_bytes: normalised.byteLength,
    signature: await deps.sign(sha256),
    facts: factsOf(checked.inspection),
  }
  return { module, normalised }
}

/** The loser of two completions changes nothing; its answer is read afterwards. */
async function makeReady(
  deps: IngestDeps,
  tx: Transaction,
  stored: StoredVersion,
  module: CheckedModule,
  compatibility: Compatibility,
  context: RequestContext,
): Promise<void> {
  const { function_id, version } = stored
  // The function may have been deleted while its module was checked.
  await requireVersion(tx, function_id, version)
  const now = new Date().toISOString()
  if (!(await setVersionReady(tx, function_id, version, module, compatibility, now))) return
  const { facts: _facts, ...recorded } = module
  await deps.audit(tx, context, {
    resource_type: 'version',
    resource_id: `${function_id}/${version}`,
    operation: 'update',
    before: { state: 'pending_upload' },
    after: { state: 'ready', ...recorded, forced: stored.forced, compatibility },
  })
}

/** Whether the module itself is to blame, so that trying again with the same bytes is useless. */
function isRefusal(error: unknown): error is EdgefnError {
  return (
    error instanceof EdgefnError &&
    error.fault === 'client' &&
    error.status !== 404 &&
    (error.status !== 409 || error.code === 'incompatible_version')
  )
}

async function refuse(
  deps: IngestDeps,
  stored: StoredVersion,
  key: UploadKey,
  context: RequestContext,
  reason: EdgefnError,
): Promise<void> {
  const { function_id, version, name } = stored
  await deps.db.write(async function forget(tx) {
    if (!(await deleteWaitingVersion(tx, function_id, version))) return
    await deps.audit(tx, context, {
      resource_type: 'version',
      resource_id: `${function_id}/${version}`,
      operation: 'delete',
      before: { state: 'pending_upload' },
      after: { refused: { code: reason.code, message: reason.message } },
    })
    if (!(await deleteEmptyFunction(tx, function_id))) return
    await deps.audit(tx, context, {
      resource_type: 'function',
      resource_id: function_id,
      operation: 'delete',
      before: { name },
      after: null,
    })
  })
  await deps.modules.deleteUpload(key)
}

/** The cast is the border: a digest in hexadecimal is what Sha256 is. */
function sha256Of(bytes: Uint8Array): Sha256 {
  return new Bun.CryptoHasher('sha256').update(bytes).digest('hex') as Sha256
}
