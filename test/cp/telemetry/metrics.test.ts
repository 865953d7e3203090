import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { versionFigures } from '../../../src/cp/telemetry/calls.ts'
import { nodeFigures } from '../../../src/cp/telemetry/node-figures.ts'
import { quantileMs } from '../../../src/cp/telemetry/quantile.ts'
import { oldestKept, rangeOf } from '../../../src/cp/telemetry/range.ts'
import { TelemetryRetention } from '../../../src/cp/telemetry/retention.ts'
import { takeBatches } from '../../../src/cp/telemetry/store.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'
import type {
  FunctionMetrics,
  NodeMetrics,
  TelemetryAck,
  TelemetryBatch,
} from '../../../src/protocol/telemetry.ts'
import { nodeTopic } from '../../../src/protocol/topics.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { LATENCY_BUCKETS } from '../../../src/telemetry/metrics.ts'
import { eventually, testPlane, type ErrorAnswer } from '../api/test-plane.ts'
import { asNode } from '../broker/clients.ts'
import { tempDatabase } from '../db/temp-database.ts'
import { batchOf, deltas, FUNCTION, nodeId, OTHER_BOOT, OTHER_FUNCTION } from './batches.ts'

const silent = createLog({ component: 'test', level: 'error', write: () => undefined })

test('quantiles lie in the bucket of the call that has the rank, and the buckets are as many as the protocol says', () => {
  expect(LATENCY_BUCKETS.length).toBe(LIMITS.latencyBuckets)
  expect(quantileMs([], 0.5)).toBeNull()
  expect(quantileMs(deltas(10, {}, 16).buckets, 0.5)).toBe(10_000)
  const counts = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 17, maxLength: 17 })
  const property = fc.property(
    counts,
    fc.double({ min: 0.01, max: 1, noNaN: true }),
    (buckets, q) => {
      const total = buckets.reduce((sum, count) => sum + count, 0)
      fc.pre(total > 0)
      let seen = 0
      const bucket = buckets.findIndex((count) => (seen += count) >= q * total && count > 0)
      const most = (LATENCY_BUCKETS[bucket] ?? 10) * 1000
      const least = bucket === 16 ? most : (LATENCY_BUCKETS[bucket - 1] ?? 0) * 1000
      const estimate = quantileMs(buckets, q) ?? -1
      expect(estimate).toBeGreaterThanOrEqual(least - 0.001)
      expect(estimate).toBeLessThanOrEqual(most + 0.001)
    },
  )
  fc.assert(property, { numRuns: 500 })
})

test('a range is whole steps of rows that are still kept, and has a limit', () => {
  const now = Date.parse('2026-03-01T12:34:56.789Z')
  const at = (ms: number) => new Date(ms).toISOString()
  expect(rangeOf({}, now)).toMatchObject({ step_seconds: 60, kept: 60 })
  expect(rangeOf({ from: at(now - 60_000) }, now)).toMatchObject({ step_seconds: 10, kept: 0 })
  expect(rangeOf({ from: at(now - 60_000), step: 7 }, now)).toMatchObject({
    step_seconds: 7,
    kept: 0,
  })
  expect(rangeOf({ since: 60 }, now)).toEqual(rangeOf({ from: at(now - 60_000) }, now))
  const to = at(now - 600_000)
  expect(rangeOf({ to, since: 60 }, now)).toEqual(rangeOf({ to, from: at(now - 660_000) }, now))
  expect(() => rangeOf({ from: at(now - 60_000), since: 60 }, now)).toThrow('exclude each other')
  const week = { from: at(now - 7 * 86_400_000), step: 60 }
  expect(rangeOf(week, now)).toMatchObject({ step_seconds: 3600, kept: 3600 })
  expect(() => rangeOf({ from: at(now), to: at(now) }, now)).toThrow('before')
  expect(() => rangeOf({ from: at(now - 7_000_000), step: 1 }, now)).toThrow('limit is 2000')
})

test.each([
  { kept: 0, step_seconds: 30 },
  { kept: 60, step_seconds: 300 },
] as const)('rows of $kept s are summed to one point for each $step_seconds s', async (asked) => {
  await using temp = await tempDatabase()
  const { db } = temp
  const from_ms = Date.parse('2026-03-01T12:00:00.000Z')
  const nodes = [nodeId('a'), nodeId('b')]
  const placed = Array.from({ length: 60 }, (_, index) =>
    nodes.map((node_id) => ({
      ...{ node_id, from_ms: from_ms + index * 10_000 + 7 },
      batch: batchOf(index + 1, [deltas(1, { errors: { function_trap: 1 } })]),
    })),
  ).flat()
  await db.write((tx) => takeBatches(tx, placed, from_ms))
  const range = { ...asked, from_ms, to_ms: from_ms + 600_000 }
  const steps = 600 / asked.step_seconds
  const starts = Array.from({ length: steps }, (_, index) =>
    new Date(from_ms + index * asked.step_seconds * 1000).toISOString(),
  )
  const filter = { function_id: FUNCTION, version: null, node_id: null }
  const [figures] = await versionFigures(db, filter, range)
  expect(figures?.points.map(({ at, requests, errors }) => [at, requests, errors])).toEqual(
    starts.map((at) => [at, 120 / steps, { function_trap: 120 / steps }]),
  )
  const { points } = await nodeFigures(db, nodeId('a'), range)
  expect(points.map(({ at, requests, mem_bytes }) => [at, requests, mem_bytes])).toEqual(
    starts.map((at) => [at, 60 / steps, 1000]),
  )
})

test('each step is kept as long as its limit says, and what is newer stays', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  const now = Date.parse('2026-03-01T12:34:56.789Z')
  const place = (seq: number, from_ms: number) => ({
    ...{ node_id: nodeId('a'), from_ms },
    batch: batchOf(seq, [deltas(1, { errors: { function_trap: 1 } })]),
  })
  const ages = [0, LIMITS.telemetryRawSecondsMax, LIMITS.telemetryMinuteSecondsMax]
  const batches = ages.map((age, index) => place(index + 1, now - (age + 7200) * 1000))
  const ancient = place(4, oldestKept(3600, now) - 1)
  await db.write((tx) => takeBatches(tx, [...batches, ancient], now))
  let deleted = 0
  const retention = new TelemetryRetention({
    ...{ db, log: silent, now: () => now },
    countDeleted: (rows) => {
      deleted += rows
    },
  })
  await retention.sweep()
  for (const table of ['calls', 'errors', 'nodes']) {
    const rows = await db.all(
      `SELECT step, count(*) AS count FROM telemetry_${table} GROUP BY step ORDER BY step`,
    )
    expect(rows.map((row) => [row['step'], row['count']])).toEqual([
      [0, 1],
      [60, 2],
      [3600, 3],
    ])
  }
  expect(deleted).toBe(3 * (3 + 2 + 1))
  await retention.sweep()
  expect(deleted).toBe(18)
  expect(await db.get('SELECT count(*) AS count FROM telemetry_series')).toEqual({ count: 1 })
  await db.run('DELETE FROM telemetry_calls')
  await retention.sweep()
  expect(await db.get('SELECT count(*) AS count FROM telemetry_series')).toEqual({ count: 0 })
  const plan = await db.all(
    `EXPLAIN QUERY PLAN DELETE FROM telemetry_calls WHERE (series_id, step, at) IN
       (SELECT series_id, step, at FROM telemetry_calls WHERE step = 0 AND at < 5 LIMIT 2000)`,
  )
  expect(plan.map((row) => row['detail']).filter((detail) => /^SCAN/.test(String(detail)))).toEqual(
    [],
  )
})

test('a node uploads over HTTP and over MQTT, is acknowledged, and its late batches lie in their own time', async () => {
  await using cp = await testPlane()
  const made = await cp.addFunction('hello')
  const node = await cp.addNode('tokyo-1', 'tokyo-1-a')
  const function_id = made.id
  const path = `/nodes/${node.node_id}/telemetry`
  const upload = (
    batches: readonly TelemetryBatch[],
    age_ms: number,
    node_id: string = node.node_id,
  ) => ({
    node_id,
    batches: batches.map((batch) => ({ age_ms, batch })),
  })
  const calls = (requests: number, errors = {}) => deltas(requests, { function_id, errors })
  const day = 86_400_000
  const late = upload([batchOf(1, [calls(30, { function_trap: 3 })], { boot_id: OTHER_BOOT })], day)
  expect(await cp.must<TelemetryAck>('POST', path, late, node.token)).toEqual({
    boot_id: OTHER_BOOT,
    seq: 1,
  })
  expect(await cp.must<TelemetryAck>('POST', path, late, node.token)).toEqual({
    boot_id: OTHER_BOOT,
    seq: 1,
  })

  await using mqtt = await asNode(node)
  const acks = nodeTopic(node.node_id, 'telemetry-acks')
  await mqtt.mqtt.subscribeAsync(acks, { qos: 1 })
  const fresh = upload([batchOf(1, [calls(5)]), batchOf(2, [calls(7, { rate_limited: 2 })])], 1000)
  await mqtt.mqtt.publishAsync(nodeTopic(node.node_id, 'telemetry'), JSON.stringify(fresh), {
    qos: 1,
  })
  const ack = await eventually(() => mqtt.received.find(({ topic }) => topic === acks))
  expect(JSON.parse(ack.text)).toMatchObject({ seq: 2 })

  const newest = await cp.must<FunctionMetrics>('GET', '/functions/hello/metrics')
  expect(newest.versions.map(({ version, totals }) => [version, totals])).toEqual([
    [
      1,
      {
        requests: 12,
        server_faults: 0,
        errors: { rate_limited: 2 },
        p50_ms: 0.75,
        p95_ms: 0.975,
        p99_ms: 0.995,
      },
    ],
  ])
  const from = new Date(Date.now() - day - 3_600_000).toISOString()
  const whole = await cp.must<FunctionMetrics>(
    'GET',
    `/functions/hello/metrics?from=${from}&step=3600`,
  )
  const points = whole.versions[0]?.points ?? []
  expect(points.at(0)).toMatchObject({
    requests: 30,
    server_faults: 3,
    errors: { function_trap: 3 },
  })
  expect(Math.abs(Date.parse(points[0]?.at ?? '') - (Date.now() - day))).toBeLessThan(3_700_000)
  expect(whole.versions[0]?.totals.requests).toBe(42)
  const { node_id: silent } = await cp.addNode('tokyo-1')
  const none = await cp.must<FunctionMetrics>('GET', `/functions/hello/metrics?node=${silent}`)
  expect(none.versions).toEqual([])

  const figures = await cp.must<NodeMetrics>('GET', `/nodes/${node.node_id}/metrics`)
  expect(figures.points.at(-1)).toMatchObject({
    requests: 12,
    cpu_percent: 10,
    mem_bytes: 1000,
    workers_min: 2,
  })
  const metrics = await (await fetch(`${cp.plane().api_url}/metrics`)).text()
  expect(metrics).toContain('edgefn_telemetry_batches_total{result="taken"} 3')
  expect(metrics).toContain('edgefn_telemetry_batches_total{result="duplicate"} 1')

  const code = async (method: string, where: string, body?: unknown, bearer?: string) =>
    (await cp.call<ErrorAnswer>(method, where, body, bearer)).body.error.code
  expect(await code('POST', path, upload([batchOf(9)], 0, 'other'), node.token)).toBe(
    'invalid_field',
  )
  const negative = { ...batchOf(9, [calls(1)]), functions: [{ ...calls(1), requests: -1 }] }
  expect(await code('POST', path, upload([negative], 0), node.token)).toBe('invalid_field')
  expect(await code('POST', path, fresh, cp.key)).toBe('forbidden')
  expect(await code('GET', '/nodes/other/metrics')).toBe('node_not_found')
  expect(await code('GET', `/functions/${OTHER_FUNCTION}/metrics`)).toBe('function_not_found')
  expect(await code('GET', '/functions/hello/metrics?node=other')).toBe('node_not_found')
  expect(await code('GET', '/functions/hello/metrics?version=99')).toBe('version_not_found')
  expect(await code('GET', '/functions/hello/metrics?step=0')).toBe('invalid_field')
})
