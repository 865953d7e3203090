/** Routes, deployments and sync on a real database without HTTP, for properties that need many runs. */

import { createAuditStore } from '../../../src/cp/audit/store.ts'
import type { RequestContext } from '../../../src/cp/context.ts'
import { createDeploymentHooks } from '../../../src/cp/deployments/hooks.ts'
import { createDeployments } from '../../../src/cp/deployments/service.ts'
import type { RecordEvent } from '../../../src/cp/events.ts'
import { createFunctionLookup } from '../../../src/cp/functions/lookup.ts'
import { createManifestSource } from '../../../src/cp/manifest-source.ts'
import { createOutbox, type OutboxRow } from '../../../src/cp/outbox/store.ts'
import { createRoutes } from '../../../src/cp/routes/service.ts'
import { createSync } from '../../../src/cp/sync/service.ts'
import type { FunctionId, NodeId } from '../../../src/protocol/ids.ts'
import type { EventMessage } from '../../../src/protocol/messages.ts'
import { tempDatabase } from '../db/temp-database.ts'

export const developer: RequestContext = {
  caller: { kind: 'user', key_id: 'k1', name: 'test', role: 'developer' },
  request_id: 'request-1',
  ip: '127.0.0.1',
}

export async function slices() {
  const temp = await tempDatabase()
  const { db } = temp
  const audit = createAuditStore()
  const outbox = createOutbox({ wake: () => undefined })
  const { nextRevision, enqueueNotices } = outbox
  const functions = createFunctionLookup((sha256) => `http://cp/${sha256}`)
  const events: EventMessage[] = []
  const recordEvent: RecordEvent = async (_tx, event) => () => void events.push(event)
  const wakeRollouts = () => undefined
  const shared = { db, functions, audit: audit.record, nextRevision, enqueueNotices }
  const manifests = createManifestSource({
    functions,
    presign: async (sha256) => ({ url: `http://cp/${sha256}?signed`, expires_at: '' }),
  })
  const routes = createRoutes({ ...shared, validatePattern: () => undefined })
  const removeRoutes = routes.removeOfFunction
  const hooks = createDeploymentHooks({
    nextRevision,
    enqueueNotices,
    manifests,
    removeRoutes,
    recordEvent,
    wakeRollouts,
  })
  const sync = createSync({
    db,
    manifests,
    preview_domain: null,
    acknowledgeUpTo: outbox.acknowledgeUpTo,
    report: hooks.reported,
    countSync: () => undefined,
  })
  return {
    db,
    outbox,
    routes,
    hooks,
    sync,
    events,
    audit,
    deployments: createDeployments({ ...shared, recordEvent, wakeRollouts }),

    async addNode(id: string, pop: string): Promise<NodeId> {
      await db.run(
        `INSERT INTO nodes (id, pop_id, ip, status, version, os, arch, http_port, token_hash, created_at, updated_at)
         VALUES (?, ?, '', 'online', '', '', '', 0, '', '', '')`,
        [id, pop],
      )
      await db.write((tx) => hooks.nodeJoined(tx, id as NodeId, pop))
      return id as NodeId
    },

    /** A function with so many ready versions. */
    async addFunction(name: string, versions = 1): Promise<FunctionId> {
      const id = Bun.randomUUIDv7()
      const now = new Date().toISOString()
      const digest = new Bun.CryptoHasher('sha256').update(name).digest('hex')
      await db.write(async (tx) => {
        await tx.run(
          `INSERT INTO functions (id, name, description, created_at, updated_at) VALUES (?, ?, '', ?, ?)`,
          [id, name, now, now],
        )
        await tx.run(
          `INSERT INTO artifacts (sha256, size_bytes, signature, created_at) VALUES (?, 100, 'sig', ?)
           ON CONFLICT DO NOTHING`,
          [digest, now],
        )
        const columns = (await tx.all('PRAGMA table_info(versions)')).map((row) => row['name'])
        for (let version = 1; version <= versions; version += 1) {
          const created = columns.includes('created_by') ? ', created_by' : ''
          await tx.run(
            `INSERT INTO versions (function_id, version, state, entrypoint, memory_pages, max_execution_ms,
               quotas, env, message, abi, artifact_sha256, uploaded_sha256, created_at${created})
             VALUES (?, ?, 'ready', 'handle', 1, 100,
               '{"concurrency":null,"requests_per_second":null,"burst":null}', '{}', '', 'edgefn', ?, ?, ?${created === '' ? '' : ", 'k1'"})`,
            [id, version, digest, digest, now],
          )
        }
      })
      return id as FunctionId
    },

    async notices(): Promise<OutboxRow[]> {
      return (await db.all('SELECT * FROM outbox ORDER BY node_id, id')) as unknown as OutboxRow[]
    },

    [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose](),
  }
}
