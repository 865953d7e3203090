/** How old stored telemetry is, whatever is done to the clocks. */

import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'

import type { Moment } from '../../../../src/edge/agent/telemetry/age.ts'
import { TelemetryStore } from '../../../../src/edge/agent/telemetry/store.ts'
import { STATS_LAYOUT } from '../../../../src/edge/stats.ts'
import { telemetryUploadSchema } from '../../../../src/protocol/telemetry.ts'
import { createLog } from '../../../../src/telemetry/log.ts'
import { batchOf } from '../../../cp/telemetry/batches.ts'
import { makeDir, removeDir } from '../fixtures/node.ts'

const log = createLog({ component: 'test', level: 'error', write: () => undefined })
const statistics = { stamp: 'a', layout: STATS_LAYOUT, collected_at: 0 }
const day = 86_400_000

let dir: string
let stores: TelemetryStore[]

beforeEach(() => {
  dir = makeDir()
  stores = []
})

afterEach(() => {
  for (const store of stores) store.close()
  removeDir(dir)
})

function openStore(now?: () => Moment): TelemetryStore {
  const options = { path: join(dir, 'telemetry.db'), log }
  const store = new TelemetryStore(now === undefined ? options : { ...options, now })
  stores.push(store)
  return store
}

/** All that waits. */
function waiting(store: TelemetryStore) {
  const text = `{"node_id":"n","batches":[${store.next()?.batches.join(',') ?? ''}]}`
  return telemetryUploadSchema.parse(JSON.parse(text)).batches
}

const agesIn = (store: TelemetryStore) => waiting(store).map(({ age_ms }) => age_ms)
const seqsIn = (store: TelemetryStore) => waiting(store).map(({ batch }) => batch.seq)

test('batches of an agent before stay and keep their age when the wall clock is set', () => {
  const at = new Date(Date.now() - 10 * day).toISOString()
  openStore().put([batchOf(1, [], { from: at, to: at })], statistics, [])
  const next = openStore()
  next.put([batchOf(2)], statistics, [])
  expect(agesIn(next).every((age) => age < day)).toBe(true)
  expect(next.usage).toMatchObject({ batches: 2, dropped: 0 })
})

test('batches go when they are too old by the clock since boot, and never by the one that may be wrong', () => {
  const clock = { boot: 'one', uptime_ms: 5, wall_ms: Date.parse('1970-01-01T00:01:00Z') }
  const now = () => ({ ...clock })
  const put = (store: TelemetryStore, seq: number) => {
    const at = new Date(clock.wall_ms).toISOString()
    store.put([batchOf(seq, [], { from: at, to: at })], statistics, [])
  }
  const first = openStore(now)
  put(first, 1)
  clock.uptime_ms += 6 * day
  put(first, 2)
  expect(agesIn(first)).toEqual([6 * day, 0])
  clock.uptime_ms += 2 * day
  put(first, 3)
  expect(agesIn(first)).toEqual([2 * day, 0])
  Object.assign(clock, { boot: 'two', uptime_ms: 1, wall_ms: Date.now() })
  const second = openStore(now)
  put(second, 4)
  expect(agesIn(second)).toEqual([7 * day, 7 * day, 0])
  expect(second.usage.dropped).toBe(0)
})

test('batches of a file from before boots were noted are sent too', () => {
  openStore().put([batchOf(1)], statistics, [])
  const beside = new Database(join(dir, 'telemetry.db'))
  for (const column of ['batches DROP machine_boot', 'statistics DROP machine_boot']) {
    beside.run(`ALTER TABLE ${column}`)
  }
  beside.close()
  const store = openStore()
  store.put([batchOf(2)], statistics, [])
  expect(seqsIn(store)).toEqual([1, 2])
})
