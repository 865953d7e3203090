import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { TelemetryCollector } from '../../../../src/edge/agent/telemetry/collector.ts'
import { Leftovers } from '../../../../src/edge/agent/telemetry/leftovers.ts'
import { TelemetrySender, type SenderDeps } from '../../../../src/edge/agent/telemetry/sender.ts'
import { TelemetryStore } from '../../../../src/edge/agent/telemetry/store.ts'
import type { Arms } from '../../../../src/edge/agent/supervise/arms.ts'
import { openSharedFiles } from '../../../../src/edge/agent/shared-files.ts'
import { STATS_LAYOUT, StatsFile, Tally } from '../../../../src/edge/stats.ts'
import { EdgefnError } from '../../../../src/errors.ts'
import type { NodeId } from '../../../../src/protocol/ids.ts'
import { telemetryUploadSchema, type TelemetryAck } from '../../../../src/protocol/telemetry.ts'
import { createLog } from '../../../../src/telemetry/log.ts'
import { FIGURES } from '../../../cp/telemetry/batches.ts'
import { armsOf } from '../fixtures/arms.ts'
import { uuid } from '../fixtures/manifests.ts'
import { makeDir, removeDir, until } from '../fixtures/node.ts'

const log = createLog({ component: 'test', level: 'error', write: () => undefined })
const arm = (number: number, version = 1) => ({ function_id: uuid(number), version })

const NO_COUNTS = { requests: 0, errors: {}, server_errors: 0, buckets: [] }

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

function openStore(bytes_max?: number): TelemetryStore {
  const path = join(dir, 'telemetry.db')
  const store = new TelemetryStore({ path, log, ...(bytes_max === undefined ? {} : { bytes_max }) })
  stores.push(store)
  return store
}

/** An agent's part of it: one worker's statistics, and versions with records in them. */
class Agent {
  readonly store: TelemetryStore
  readonly stats: StatsFile
  readonly collector: TelemetryCollector
  readonly arms: Arms

  constructor(stamp: string, bytesMax?: number) {
    this.store = openStore(bytesMax)
    this.stats = new StatsFile(join(dir, `worker-0.${stamp}.stats`))
    this.arms = armsOf([this.stats])
    this.collector = new TelemetryCollector({
      ...{ store: this.store, stamp, stats: [this.stats], arms: this.arms, log },
      interval_ms: 1_000_000,
      figures: () => FIGURES,
      onStored: () => undefined,
      random: () => 1,
    })
  }

  /** A version is served from now on. */
  serve(number: number, version = 1): number {
    const slot = this.arms.take(arm(number, version))?.slot
    if (slot === undefined) throw new Error('no slot')
    this.collector.slotTaken(arm(number, version), slot)
    return slot
  }

  call(slot: number, times: number): void {
    this.stats.add(slot, 'invocations', times)
    for (let time = 0; time < times; time += 1) this.stats.observe(slot, 0.002)
  }
}

/** All that is stored, without acknowledging it. */
function stored(store: TelemetryStore) {
  const upload = store.next()
  if (upload === null) return []
  const text = `{"node_id":"n","batches":[${upload.batches.join(',')}]}`
  return telemetryUploadSchema.parse(JSON.parse(text)).batches.map(({ batch }) => batch)
}

const requestsIn = (store: TelemetryStore) =>
  stored(store)
    .flatMap(({ functions }) => functions)
    .reduce((sum, { requests }) => sum + requests, 0)

describe('batches', () => {
  test('say what is new, of versions with news only, and know refusals from calls', () => {
    const agent = new Agent('a')
    const [first, second] = [agent.serve(1), agent.serve(2)]
    agent.call(first, 5)
    agent.stats.addError(first, 'function_trap')
    for (let time = 0; time < 3; time += 1) agent.stats.addError(first, 'rate_limited')
    agent.stats.observe(first, 60)
    agent.collector.collect()
    agent.call(first, 2)
    agent.call(second, 1)
    agent.collector.collect()
    agent.collector.collect()
    const batches = stored(agent.store)
    const counts = batches.map(({ functions }) =>
      functions.map((each) => [each.function_id, each.requests, each.errors, each.buckets[16]]),
    )
    expect(counts).toEqual([
      [[uuid(1), 8, { function_trap: 1, rate_limited: 3 }, 1]],
      [
        [uuid(1), 2, {}, 0],
        [uuid(2), 1, {}, 0],
      ],
      [],
    ] as never)
    expect(batches.map(({ seq, node }) => [seq, node?.workers])).toEqual([
      [1, 2],
      [2, 2],
      [3, 2],
    ])
  })

  test('are split where there are too many versions, with the figures of the node in the first', () => {
    const agent = new Agent('a')
    for (let number = 1; number <= 1500; number += 1) agent.call(agent.serve(number), 1)
    agent.collector.collect()
    const batches = stored(agent.store)
    expect(batches.map(({ functions, node }) => [functions.length, node !== null])).toEqual([
      [700, true],
      [700, false],
      [100, false],
    ])
  })

  test('over the limit go, the oldest first, and a later one says how many', () => {
    const agent = new Agent('a', 3_000)
    const slot = agent.serve(1)
    for (let time = 0; time < 50; time += 1) {
      agent.call(slot, 1)
      agent.collector.collect()
    }
    const batches = stored(agent.store)
    const told = batches.reduce((sum, batch) => sum + batch.dropped_batches, 0)
    expect(agent.store.usage.bytes).toBeLessThanOrEqual(3_000)
    expect(batches.at(-1)?.seq).toBe(50)
    // Those that told of others and were dropped are told of with what they told.
    expect(told + agent.store.untold()).toBe(50 - batches.length)
    expect(agent.store.usage.dropped).toBe(50 - batches.length)
  })

  test('that are stored while old ones cannot be dropped are counted once', () => {
    const agent = new Agent('a', 100)
    const slot = agent.serve(1)
    // As a full disk does it: what is put is committed, and the deletion after it is not.
    const beside = new Database(join(dir, 'telemetry.db'))
    beside.run(
      `CREATE TRIGGER full BEFORE DELETE ON batches BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`,
    )
    for (const times of [3, 4]) {
      agent.call(slot, times)
      agent.collector.collect()
    }
    expect(stored(agent.store).map(({ seq }) => seq)).toEqual([1, 2])
    expect(requestsIn(agent.store)).toBe(7)
    beside.run('DROP TRIGGER full')
    beside.close()
    agent.collector.collect()
    expect(agent.store.usage.batches).toBeLessThan(3)
  })

  test('that could not be stored are in the next one', () => {
    const agent = new Agent('a')
    const slot = agent.serve(1)
    agent.call(slot, 3)
    const { put } = agent.store
    agent.store.put = () => {
      throw new Error('database or disk is full')
    }
    agent.collector.collect()
    agent.call(slot, 4)
    agent.store.put = put
    agent.collector.collect()
    expect(stored(agent.store).map(({ seq }) => seq)).toEqual([1])
    expect(requestsIn(agent.store)).toBe(7)
  })
})

describe('an agent that was killed', () => {
  const files = (stamp: string) =>
    [join(dir, `worker-0.${stamp}.stats`)].filter((path) => existsSync(path))
  const leftoversOf = ({ store }: Agent) => new Leftovers({ store, files, log })

  test('leaves nothing uncounted and nothing counted twice, whenever it was', async () => {
    const killed = new Agent('a')
    const first = killed.serve(1)
    killed.call(first, 10)
    killed.collector.collect()
    const second = killed.serve(2)
    killed.call(first, 3)
    killed.call(second, 4)
    await Bun.sleep(80)
    // It is killed here; its workers go on, and its successor comes up.
    const next = new Agent('b')
    const leftovers = leftoversOf(next)
    killed.call(second, 2)
    next.call(next.serve(1), 1)
    next.collector.collect()
    leftovers.collect()
    expect(requestsIn(next.store)).toBe(10 + 3 + 4 + 2 + 1)
    expect(leftoversOf(new Agent('c')).stamps).toEqual(new Set(['b']))
    expect(files('a')).toEqual([])
    expect(new Set(stored(next.store).map(({ boot_id }) => boot_id)).size).toBe(3)
  })

  test('makes room on a full disk: what it left is read before its files go', () => {
    const killed = new Agent('a')
    const slot = killed.serve(1)
    killed.collector.collect()
    killed.call(slot, 6)
    const next = new Agent('b')
    const leftovers = leftoversOf(next)
    leftovers.release()
    expect(files('a')).toEqual([])
    const { finish } = next.store
    next.store.finish = () => {
      throw new Error('database or disk is full')
    }
    leftovers.collect()
    leftovers.storeWorks()
    next.store.finish = finish
    leftovers.storeWorks()
    leftovers.storeWorks()
    expect(requestsIn(next.store)).toBe(6)
  })

  test('by a clock of 1970 leaves batches that the control plane takes', () => {
    const killed = new Agent('a')
    const counted = [{ ...arm(1), slot: killed.serve(1), counts: NO_COUNTS }]
    killed.call(killed.serve(1), 2)
    killed.store.note({ stamp: 'a', layout: STATS_LAYOUT, collected_at: 1000 }, counted)
    leftoversOf(new Agent('b')).collect()
    expect(requestsIn(killed.store)).toBe(2)
  })

  test('and a clock that was set forward since leave what is as old as it is', () => {
    const killed = new Agent('a')
    const counted = [{ ...arm(1), slot: killed.serve(1), counts: NO_COUNTS }]
    killed.call(killed.serve(1), 2)
    const collected_at = Date.now() - 10 * 86_400_000
    killed.store.note({ stamp: 'a', layout: STATS_LAYOUT, collected_at }, counted)
    leftoversOf(new Agent('b')).collect()
    expect(stored(killed.store).map(({ duration_ms }) => duration_ms < 60_000)).toEqual([true])
  })

  test('or ended in order, which leaves nothing to be found', () => {
    const agent = new Agent('a')
    agent.call(agent.serve(1), 2)
    agent.collector.close()
    expect(requestsIn(agent.store)).toBe(2)
    expect(leftoversOf(agent).stamps).toEqual(new Set())
  })
})

describe('forwarding', () => {
  function sender(store: TelemetryStore, parts: Partial<SenderDeps>): TelemetrySender {
    return new TelemetrySender({
      ...{ store, mqtt: null, log, nodeId: () => 'n' as NodeId },
      postHttp: () => Promise.reject(new EdgefnError('cp_unreachable', 'away')),
      retryDelayMs: () => 5,
      random: () => 0,
      ...parts,
    })
  }

  const ackOf = (text: string): TelemetryAck => {
    const { boot_id = '', seq = 0 } =
      telemetryUploadSchema.parse(JSON.parse(text)).batches.at(-1)?.batch ?? {}
    return { boot_id, seq }
  }

  test('goes on in order after failures, and forgets what is acknowledged only', async () => {
    const agent = new Agent('a')
    const slot = agent.serve(1)
    let failures = 3
    const seqs: number[] = []
    const sending = sender(agent.store, {
      async postHttp(text) {
        if (failures > 0) {
          failures -= 1
          throw new EdgefnError('cp_unreachable', 'away')
        }
        seqs.push(
          ...telemetryUploadSchema.parse(JSON.parse(text)).batches.map((each) => each.batch.seq),
        )
        return ackOf(text)
      },
    })
    for (let time = 0; time < 700; time += 1) {
      agent.call(slot, 1)
      agent.collector.collect()
    }
    sending.wake()
    await until('all is acknowledged', () => agent.store.usage.batches === 0)
    expect(seqs).toEqual(Array.from({ length: 700 }, (_, index) => index + 1))
    await sending.close()
  })

  test('over MQTT waits for the acknowledgement of what it sent, and of nothing else', async () => {
    const agent = new Agent('a')
    agent.call(agent.serve(1), 1)
    agent.collector.collect()
    const published: string[] = []
    const sending = sender(agent.store, {
      mqtt: {
        connected: true,
        async publish(_channel, text) {
          published.push(text)
        },
      },
    })
    sending.wake()
    await until('it is published', () => published.length === 1)
    const ack = ackOf(published[0] ?? '')
    sending.acknowledged({ ...ack, seq: ack.seq + 1 })
    await Bun.sleep(20)
    expect(agent.store.usage.batches).toBe(1)
    sending.acknowledged(ack)
    await until('it is forgotten', () => agent.store.usage.batches === 0)
    await sending.close()
  })

  test('drops of an upload that is refused the one batch that is to blame', async () => {
    const agent = new Agent('a')
    for (let time = 0; time < 5; time += 1) agent.collector.collect()
    const taken: number[][] = []
    const sending = sender(agent.store, {
      async postHttp(text) {
        const { batches } = telemetryUploadSchema.parse(JSON.parse(text))
        const seqs = batches.map(({ batch }) => batch.seq)
        if (seqs.includes(3)) throw new EdgefnError('invalid_field', 'What is this?')
        taken.push(seqs)
        return ackOf(text)
      },
    })
    sending.wake()
    await until('none is left', () => agent.store.usage.batches === 0)
    expect([taken, agent.store.usage.dropped]).toEqual([[[1], [2], [4], [5]], 1])
    for (let time = 0; time < 2; time += 1) agent.collector.collect()
    await until('the last ends', () => (sending.wake(), agent.store.usage.batches === 0))
    expect(taken.at(-1)).toEqual([6, 7])
    await sending.close()
  })

  test('drops what the control plane will never take, so that the rest arrives', async () => {
    const agent = new Agent('a')
    agent.collector.collect()
    let refused = false
    const sending = sender(agent.store, {
      async postHttp(text) {
        if (refused) return ackOf(text)
        refused = true
        throw new EdgefnError('invalid_field', 'What is this?')
      },
    })
    sending.wake()
    await until('it is dropped', () => agent.store.usage.dropped === 1)
    agent.collector.collect()
    sending.wake()
    await until('the next arrives', () => agent.store.usage.batches === 0)
    await sending.close()
  })
})

test('calls that were under way when their worker died are errors, of the versions that they were of', () => {
  const shared = openSharedFiles(dir, 2)
  const [dead, alive] = shared.stats
  dead?.add(4, 'invocations', 9)
  dead?.add(4, 'in_flight', 3)
  alive?.add(4, 'in_flight', 1)
  shared.clearSeat(0, { used: () => [4, 5], usedQuotaSlots: () => [] })
  const tally = new Tally().add(shared.stats, 4)
  expect([tally.getError('worker_lost'), tally.get('in_flight')]).toEqual([3, 1])
  expect(new Tally().add(shared.stats, 5).getError('worker_lost')).toBe(0)
})

test('a damaged file is put aside and a new one begun', async () => {
  await Bun.write(
    join(dir, 'telemetry.db'),
    'no database at all, whatever its name says'.repeat(50),
  )
  const agent = new Agent('a')
  agent.collector.collect()
  expect(agent.store.usage.batches).toBe(1)
  expect(await Bun.file(join(dir, 'telemetry.db.damaged')).exists()).toBe(true)
})
