/** The rules of functions: registration, change, removal; each with its audit row in one transaction [R1 C7.2 R14]. */

import type { z } from 'zod'

import { EdgefnError } from '../../errors.ts'
import type {
  FunctionDetail,
  FunctionView,
  RegistrationView,
  TroubleView,
  downloadViewSchema,
  functionUpdateSchema,
} from '../../protocol/api.ts'
import type { FunctionRegistration } from '../../protocol/registration.ts'
import type { FunctionId } from '../../protocol/ids.ts'
import { functionIdSchema, versionMax } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { RequestContext } from '../context.ts'
import type { Transaction } from '../db/database.ts'
import { isUniqueViolation } from '../db/constraint.ts'
import type { FunctionHooks, FunctionLookup, SecretLinks } from '../lookup.ts'
import type { IngestDeps } from './ingest.ts'
import { requireVersion, versionView } from './lookup.ts'
import {
  findFunction,
  findVersion,
  insertFunction,
  insertVersion,
  markFunctionDeleted,
  nextVersion,
  updateFunction,
} from './store.ts'

export interface ServiceDeps extends Omit<IngestDeps, 'checkModule' | 'inspectModule' | 'sign'> {
  readonly lookup: FunctionLookup
  readonly hooks: FunctionHooks
  readonly secrets: SecretLinks
  /** Where a function is not well, as nodes report it. */
  readonly troubles: (functionId: FunctionId) => readonly TroubleView[]
  /** Without a slash at its end. */
  readonly public_url: () => string
}

export interface FunctionService {
  /** A new function, or the next version of one with the same name. Throws `version_exists`. */
  register(body: FunctionRegistration, context: RequestContext): Promise<RegistrationView>
  show(idOrName: string): Promise<FunctionDetail>
  /** Throws `conflict` when another function has the name. */
  update(
    idOrName: string,
    body: z.output<typeof functionUpdateSchema>,
    context: RequestContext,
  ): Promise<FunctionView>
  /** Takes the function off every node, in the same transaction. */
  remove(idOrName: string, context: RequestContext): Promise<void>
  /** Null takes the newest ready version. */
  download(idOrName: string, version: number | null): Promise<z.input<typeof downloadViewSchema>>
}

export function createFunctionService(deps: ServiceDeps): FunctionService {
  const { db, audit, lookup, hooks, modules, location } = deps

  return {
    async register(body, context) {
      const { id, version } = await db.write((tx) => register(deps, tx, body, context))
      const upload = await modules.presignUpload(
        { function_id: id, version },
        LIMITS.uploadUrlSecondsMax,
      )
      return {
        id,
        name: body.name,
        version,
        upload_url: upload.url,
        upload_expires_at: upload.expires_at,
        complete_url: `${deps.public_url()}/api/v1/functions/${id}/versions/${version}/complete`,
        version_record: versionView(await requireVersion(db, id, version), location),
      }
    },

    async show(idOrName) {
      const found = await lookup.resolve(db, idOrName)
      const latest =
        found.latest_version === null
          ? null
          : versionView(await requireVersion(db, found.id, found.latest_version), location)
      return { ...found, latest, troubles: [...deps.troubles(found.id)] }
    },

    async update(idOrName, body, context) {
      return db.write(async function change(tx) {
        const before = await lookup.resolve(tx, idOrName)
        const name = body.name ?? before.name
        const description = body.description ?? before.description
        try {
          await updateFunction(tx, before.id, name, description, new Date().toISOString())
        } catch (error) {
          if (!isUniqueViolation(error)) throw error
          throw new EdgefnError('conflict', `Another function is named ${name}.`, { cause: error })
        }
        if (name !== before.name) await hooks.changed(tx, context, before.id)
        await audit(tx, context, {
          resource_type: 'function',
          resource_id: before.id,
          operation: 'update',
          before: { name: before.name, description: before.description },
          after: { name, description },
        })
        return lookup.resolve(tx, before.id)
      })
    },

    async remove(idOrName, context) {
      const afterCommit = await db.write(async function remove(tx) {
        const before = await lookup.resolve(tx, idOrName)
        const tell = await hooks.removed(tx, context, before.id)
        await deps.secrets.functionRemoved(tx, context, before.id)
        await markFunctionDeleted(tx, before.id, new Date().toISOString())
        await audit(tx, context, {
          resource_type: 'function',
          resource_id: before.id,
          operation: 'delete',
          before,
          after: null,
        })
        return tell
      })
      afterCommit()
    },

    async download(idOrName, version) {
      const found = await lookup.resolve(db, idOrName)
      const { sha256, size_bytes } = await lookup.version(db, found.id, version)
      const presigned = await modules.presignDownload(sha256, LIMITS.downloadUrlSecondsMax)
      return { ...presigned, sha256, size_bytes }
    },
  }
}

async function register(
  deps: ServiceDeps,
  tx: Transaction,
  body: FunctionRegistration,
  context: RequestContext,
): Promise<{ id: FunctionId; version: number }> {
  const at = new Date().toISOString()
  const existing = await findFunction(tx, body.name)
  const id = existing?.id ?? functionIdSchema.parse(Bun.randomUUIDv7())
  if (existing === null) {
    await insertFunction(tx, id, body.name, body.description, at)
    await deps.audit(tx, context, {
      resource_type: 'function',
      resource_id: id,
      operation: 'create',
      before: null,
      after: { name: body.name, description: body.description },
    })
  } else if (body.description !== '' && body.description !== existing.description) {
    // The description belongs to the function: one given with a new version replaces it.
    await updateFunction(tx, id, body.name, body.description, at)
    await deps.audit(tx, context, {
      resource_type: 'function',
      resource_id: id,
      operation: 'update',
      before: { description: existing.description },
      after: { description: body.description },
    })
  }
  const version = body.version ?? (await nextVersion(tx, id))
  if (version > versionMax) {
    throw new EdgefnError(
      'conflict',
      `Function ${body.name} has version ${versionMax}, the highest there is; name a version that is free.`,
    )
  }
  if ((await findVersion(tx, id, version)) !== null) {
    throw new EdgefnError('version_exists', 'Function with name and version already exists', {
      details: { name: body.name, version },
    })
  }
  await insertVersion(tx, id, version, body, creatorOf(context), at)
  const secrets = await deps.secrets.bind(tx, id, version, body.secrets)
  const { env, name: _name, description: _description, ...limits } = body
  await deps.audit(tx, context, {
    resource_type: 'version',
    resource_id: `${id}/${version}`,
    operation: 'create',
    before: null,
    // Values of the environment may be secrets; their names are enough to see what changed.
    after: { ...limits, version, env: Object.keys(env), secrets },
  })
  return { id, version }
}

function creatorOf(context: RequestContext): string {
  return context.caller.kind === 'user' ? context.caller.key_id : ''
}
