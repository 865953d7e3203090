/** A node whose disk is full: it stays where it is, says why, and goes on when there is room. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'

import { ArtifactCache } from '../../../../src/edge/agent/cache/artifact-cache.ts'
import type { IndexDatabase } from '../../../../src/edge/agent/cache/cache-index.ts'
import { openCacheIndex } from '../../../../src/edge/agent/cache/cache-index.ts'
import { createStateStore } from '../../../../src/edge/agent/cache/state-store.ts'
import { EMPTY_STATE, NO_PREVIEWS } from '../../../../src/edge/agent/node-state.ts'
import { armsOf } from '../fixtures/arms.ts'
import { NO_SCHEMAS } from '../../../../src/edge/agent/schemas/schema-keeper.ts'
import { Syncer } from '../../../../src/edge/agent/sync/syncer.ts'
import type { SyncAck } from '../../../../src/protocol/plan.ts'
import { planSchema } from '../../../../src/protocol/plan.ts'
import { makeManifest } from '../fixtures/manifests.ts'
import { makeDir, quietLog, removeDir, until } from '../fixtures/node.ts'

let dir: string
let database: IndexDatabase

beforeEach(() => {
  dir = makeDir()
  database = openCacheIndex(join(dir, 'index.db'), quietLog)
})
afterEach(() => {
  database.close()
  removeDir(dir)
})

test('a plan that cannot be stored is reported as failed, not applied, and applied when there is room', async () => {
  const acks: SyncAck[] = []
  const assigned: number[] = []
  const cache = new ArtifactCache({
    dir: join(dir, 'cache'),
    database,
    log: quietLog,
    bytes_max: 1e9,
    files_max: 100,
  })
  cache.open()
  const manifest = makeManifest({ env: { LARGE: 'x'.repeat(4096), LARGE_TOO: 'x'.repeat(4096) } })
  const plan = planSchema.parse({
    node_id: 'n',
    base_revision: 0,
    revision: 3,
    full: true,
    actions: [{ action: 'put_function', function: manifest }],
  })
  const syncer = new Syncer(
    {
      cp: { plan: async () => plan, acknowledge: async (ack) => void acks.push(ack) },
      store: createStateStore(database, new Uint8Array(32)),
      cache,
      arms: armsOf([]),
      previews: NO_PREVIEWS,
      schemas: NO_SCHEMAS,
      workers: {
        prepare: async () => {},
        assign: async (table) => void assigned.push(table.revision),
      },
      compiledOf: () => null,
      onAssigned: () => {},
      ensureArtifact: async () => '/somewhere.wasm',
      onRemoved: () => {},
      log: quietLog,
      sync_ms: 60_000,
      retryDelayMs: () => 10,
    },
    EMPTY_STATE,
  )
  const pages = database.query<{ page_count: number }, []>('PRAGMA page_count').get()?.page_count
  database.run(`PRAGMA max_page_count = ${pages}`)
  syncer.poke()
  await until('it is reported', () => acks.length > 0)
  expect(acks[0]).toMatchObject({
    revision: 0,
    results: [{ version: 1, state: 'failed', error: { code: 'function_unavailable' } }],
  })
  expect(syncer.state).toEqual(EMPTY_STATE)
  expect(assigned).toEqual([])
  database.run('PRAGMA max_page_count = 100000')
  await until('it is applied', () => acks.at(-1)?.results[0]?.state === 'deployed')
  await syncer.close()
  expect(syncer.state.revision).toBe(3)
  expect(assigned).toEqual([3])
})
