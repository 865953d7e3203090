/** Functions and versions over HTTP. */

import { z } from 'zod'

import {
  downloadViewSchema,
  functionDetailSchema,
  functionUpdateSchema,
  functionViewSchema,
  pageQuerySchema,
  pageSchema,
  registrationViewSchema,
  versionViewSchema,
} from '../../protocol/api.ts'
import { functionRegistrationSchema } from '../../protocol/registration.ts'
import { functionNameSchema, uuidSchema, versionSchema } from '../../protocol/ids.ts'
import { versionDetailSchema } from '../../protocol/versions.ts'
import type { Database } from '../db/database.ts'
import type { Endpoint } from '../endpoint.ts'
import { endpoint } from '../endpoint.ts'
import type { FunctionLookup } from '../lookup.ts'
import { storedFacts } from './facts.ts'
import type { CompleteVersion } from './ingest.ts'
import { liveIn } from './live.ts'
import type { Location } from './lookup.ts'
import { requireVersion, versionView } from './lookup.ts'
import type { InspectModule, ModuleStore } from './modules.ts'
import type { FunctionService } from './service.ts'
import { listFunctions, listVersions } from './store.ts'

export interface FunctionRouteDeps {
  readonly db: Database
  readonly lookup: FunctionLookup
  readonly location: Location
  readonly modules: Pick<ModuleStore, 'open'>
  readonly inspectModule: InspectModule
  readonly service: FunctionService
  readonly completeVersion: CompleteVersion
}

/** An id or a name. */
const functionParams = z.strictObject({ id: z.string().min(1).max(63) })
const versionNumber = z.coerce.number().int().pipe(versionSchema)
const versionParams = functionParams.extend({ version: versionNumber })

export function functionEndpoints(deps: FunctionRouteDeps): readonly Endpoint[] {
  return [...registrationEndpoints(deps), ...resourceEndpoints(deps), ...versionEndpoints(deps)]
}

/** `POST /functions`, and `/functions/register` as the documents spell it. */
function registrationEndpoints({ service }: FunctionRouteDeps): Endpoint[] {
  return ['/functions', '/functions/register'].map((path) =>
    endpoint({
      method: 'POST',
      path,
      tag: 'functions',
      summary: 'Registers a function or its next version; answers where to PUT the module',
      access: 'developer',
      body: functionRegistrationSchema,
      status: 201,
      response: registrationViewSchema,
      handle: ({ body, context }) => service.register(body, context),
    }),
  )
}

function resourceEndpoints({ db, service }: FunctionRouteDeps): Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/functions',
      tag: 'functions',
      summary: 'Lists functions, oldest first',
      access: 'viewer',
      query: pageQuerySchema.extend({
        cursor: uuidSchema.optional(),
        name: functionNameSchema.optional(),
      }),
      status: 200,
      response: pageSchema(functionViewSchema),
      async handle({ query: { name, cursor, limit } }) {
        const rows = await listFunctions(db, { name, cursor, rows: limit + 1 })
        return page(rows, limit, (last) => last.id)
      },
    }),
    endpoint({
      method: 'GET',
      path: '/functions/:id',
      tag: 'functions',
      summary: 'Shows a function and its newest ready version',
      access: 'viewer',
      params: functionParams,
      status: 200,
      response: functionDetailSchema,
      handle: ({ params }) => service.show(params.id),
    }),
    endpoint({
      method: 'PUT',
      path: '/functions/:id',
      tag: 'functions',
      summary: 'Changes the name or the description of a function',
      access: 'developer',
      params: functionParams,
      body: functionUpdateSchema,
      status: 200,
      response: functionViewSchema,
      handle: ({ params, body, context }) => service.update(params.id, body, context),
    }),
    endpoint({
      method: 'DELETE',
      path: '/functions/:id',
      tag: 'functions',
      summary: 'Deletes a function, its routes, and takes it off every node',
      access: 'developer',
      params: functionParams,
      status: 204,
      async handle({ params, context }) {
        await service.remove(params.id, context)
        return undefined
      },
    }),
    endpoint({
      method: 'GET',
      path: '/functions/:id/download',
      tag: 'functions',
      summary: 'Answers a URL from which the module can be fetched for an hour',
      access: 'viewer',
      params: functionParams,
      query: z.strictObject({ version: versionNumber.optional() }),
      status: 200,
      response: downloadViewSchema,
      handle: ({ params, query }) => service.download(params.id, query.version ?? null),
    }),
  ]
}

function versionEndpoints(deps: FunctionRouteDeps): Endpoint[] {
  const { db, lookup, location, completeVersion } = deps
  return [
    endpoint({
      method: 'GET',
      path: '/functions/:id/versions',
      tag: 'versions',
      summary: 'Lists the versions of a function, newest first',
      access: 'viewer',
      params: functionParams,
      query: pageQuerySchema.extend({ cursor: versionNumber.optional() }),
      status: 200,
      response: pageSchema(versionViewSchema),
      async handle({ params, query: { cursor, limit } }) {
        const { id } = await lookup.resolve(db, params.id)
        const stored = await listVersions(db, id, { cursor, rows: limit + 1 })
        const rows = stored.map((version) => versionView(version, location))
        return page(rows, limit, (last) => String(last.version))
      },
    }),
    endpoint({
      method: 'GET',
      path: '/functions/:id/versions/:version',
      tag: 'versions',
      summary: 'Shows one version of a function: what its module is, and where it is live',
      access: 'viewer',
      params: versionParams,
      status: 200,
      response: versionDetailSchema,
      async handle({ params }) {
        const { id } = await lookup.resolve(db, params.id)
        const stored = await requireVersion(db, id, params.version)
        const facts = await storedFacts(deps, stored)
        return {
          ...versionView(stored, location),
          imports: facts === null ? null : [...facts.imports],
          exports: facts === null ? null : [...facts.exports],
          memory_min: facts?.memory_min ?? null,
          live: await liveIn(db, id, params.version),
        }
      },
    }),
    endpoint({
      method: 'POST',
      path: '/functions/:id/versions/:version/complete',
      tag: 'versions',
      summary:
        'Checks the uploaded module and makes the version ready; doing it again changes nothing',
      access: 'developer',
      params: versionParams,
      status: 200,
      response: versionViewSchema,
      async handle({ params, context }) {
        const { id } = await lookup.resolve(db, params.id)
        return completeVersion(id, params.version, context)
      },
    }),
  ]
}

/** One page out of a query for one row more than it holds. */
function page<T>(
  rows: readonly T[],
  limit: number,
  cursorOf: (last: T) => string,
): { items: T[]; next_cursor: string | null } {
  const items = rows.slice(0, limit)
  const last = items[items.length - 1]
  const more = rows.length > limit && last !== undefined
  return { items, next_cursor: more ? cursorOf(last) : null }
}
