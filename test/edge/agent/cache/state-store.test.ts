/** The applied state in the index, after damage that SQLite does not notice. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'

import type { IndexDatabase } from '../../../../src/edge/agent/cache/cache-index.ts'
import { openCacheIndex } from '../../../../src/edge/agent/cache/cache-index.ts'
import { createStateStore } from '../../../../src/edge/agent/cache/state-store.ts'
import { EMPTY_STATE, type NodeState } from '../../../../src/edge/agent/node-state.ts'
import { makeManifest, uuid } from '../fixtures/manifests.ts'
import { makeDir, quietLog, removeDir } from '../fixtures/node.ts'

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

test('a row with a flipped bit is left out and asked for again; the others serve', () => {
  const store = createStateStore(database, new Uint8Array(32))
  const entry = (number: number) => ({
    serving: makeManifest({ id: number }),
    pending: null,
    failure: null,
  })
  const ack = { base_revision: 0, revision: 7, results: [], duration_ms: 1 }
  const state: NodeState = {
    ...EMPTY_STATE,
    synced: true,
    revision: 7,
    functions: new Map([1, 2].map((number) => [uuid(number), entry(number)])),
    unacknowledged: ack,
  }
  store.save(state, EMPTY_STATE)
  expect(store.load()).toEqual(state)
  const flip = (table: string, column: string, where: string) =>
    database.run(`UPDATE ${table} SET ${column} = '[' || substr(${column}, 2) WHERE ${where}`)
  flip('functions', 'entry', `function_id = '${uuid(1)}'`)
  flip('node_state', 'unacknowledged', 'id = 1')
  const loaded = store.load()
  expect(loaded.revision).toBe(0)
  expect([...loaded.functions.keys()]).toEqual([uuid(2)])
  expect(loaded.unacknowledged).toBeNull()
})
