/** Heartbeat payloads from any state of the node. */

import { expect, test } from 'bun:test'

import fc from 'fast-check'

import type { Health } from '../../../../src/edge/agent/blame/function-health.ts'
import { buildHeartbeat } from '../../../../src/edge/agent/heartbeat/payload.ts'
import type { FunctionEntry } from '../../../../src/edge/agent/node-state.ts'
import { CALL_ERROR_CODES } from '../../../../src/edge/stats.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { nodeIdSchema } from '../../../../src/protocol/ids.ts'
import { heartbeatSchema } from '../../../../src/protocol/messages.ts'
import { makeManifest, sha256Of, uuid } from '../fixtures/manifests.ts'

const anyNumber = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(NaN, Infinity, -1, 2 ** 60))

const totalsArbitrary = fc.record({
  invocations: anyNumber,
  errors: fc
    .array(fc.tuple(fc.constantFrom(...CALL_ERROR_CODES), anyNumber), { maxLength: 4 })
    .map((entries) => new Map(entries)),
  latency_seconds_sum: anyNumber,
  latency_count: anyNumber,
})

const functionArbitrary = fc.record({
  version: fc.integer({ min: 1, max: 9 }),
  kind: fc.constantFrom('serving', 'updating', 'failed'),
  totals: fc.option(totalsArbitrary, { nil: null }),
})

/** How versions do, by their number. */
const HEALTH: Readonly<Record<number, Health>> = {
  8: { quarantined: false, breaker: 'open', reason: 'Its breaker is open.' },
  9: { quarantined: true, breaker: 'closed', reason: 'It ended workers.' },
}
const WELL: Health = { quarantined: false, breaker: 'closed', reason: null }

function entryOf(id: number, version: number, kind: string): FunctionEntry {
  const manifest = makeManifest({ id, version })
  if (kind === 'serving') return { serving: manifest, pending: null, failure: null }
  const pending = makeManifest({ id, version: version + 1 })
  if (kind === 'updating') return { serving: manifest, pending, failure: null }
  const failure = { code: 'internal', message: 'x', retryable: false, attempts: 1 }
  return { serving: null, pending, failure }
}

test('P13: a heartbeat made of any state has every field and satisfies the protocol', () => {
  fc.assert(
    fc.property(
      fc.array(functionArbitrary, { maxLength: 8 }),
      fc.array(fc.record({ id: fc.nat(12), version: fc.integer({ min: 1, max: 9 }) }), {
        maxLength: 8,
      }),
      fc.record({ cpu: anyNumber, mem: anyNumber, uptime: anyNumber }),
      fc.nat(1_000_000),
      fc.nat(8),
      fc.nat(2),
      (functions, cached, figures, revision, workers, pressure) => {
        const entries = functions.map(({ version, kind }, index) => {
          return [uuid(index), entryOf(index, version, kind)] as const
        })
        const beat = buildHeartbeat({
          node_id: nodeIdSchema.parse('n-1'),
          state: {
            synced: true,
            revision,
            functions: new Map(entries),
            routes: new Map(),
            schemas: new Map(),
            unacknowledged: null,
            unread_by: null,
          },
          cached: cached.map(({ id, version }) => ({
            function_id: uuid(id),
            version,
            sha256: sha256Of('x'),
            path: 'p',
            size_bytes: 10,
            last_used: 0,
          })),
          totals: new Map(
            functions.flatMap(({ totals }, index) =>
              totals === null ? [] : [[uuid(index), totals] as const],
            ),
          ),
          health: ({ version }) => HEALTH[version % 10] ?? WELL,
          cpu_percent: figures.cpu,
          mem_bytes: figures.mem,
          version: '1.0.0',
          uptime_seconds: figures.uptime,
          workers,
          workers_wanted: 4,
          memory_pressure: pressure,
          now: new Date(),
        })
        const sent = heartbeatSchema.parse(JSON.parse(JSON.stringify(beat)))
        expect(sent.revision).toBe(revision)
        for (const [index, { kind, version }] of functions.entries()) {
          const status = sent.functions.find((fn) => fn.function_id === uuid(index))
          const wanted = kind === 'failed' ? version + 1 : version
          const { quarantined, breaker, reason } = HEALTH[wanted] ?? WELL
          const served = kind === 'failed' ? 'failed' : 'serving'
          expect(status?.state).toBe(quarantined ? 'quarantined' : served)
          expect(status).toMatchObject({ breaker, reason })
        }
        const ill = sent.functions.some(({ reason }) => reason !== null)
        expect(sent.status).toBe(ill || workers < 4 || pressure > 0 ? 'degraded' : 'online')
      },
    ),
    { numRuns: 300 },
  )
})

test('a heartbeat of the largest node fits into one packet', () => {
  const entries = Array.from({ length: LIMITS.functionsMax }, (_, index) => {
    return [uuid(index), entryOf(index, 1, 'serving')] as const
  })
  const beat = buildHeartbeat({
    node_id: nodeIdSchema.parse('n'.repeat(63)),
    state: {
      synced: true,
      revision: 1,
      functions: new Map(entries),
      routes: new Map(),
      schemas: new Map(),
      unacknowledged: null,
      unread_by: null,
    },
    cached: [],
    health: () => WELL,
    totals: new Map(),
    cpu_percent: 1,
    mem_bytes: 1,
    version: '1',
    uptime_seconds: 1,
    workers: 1,
    workers_wanted: 1,
    memory_pressure: 0,
    now: new Date(),
  })
  expect(JSON.stringify(beat).length).toBeLessThan(LIMITS.mqttPacketBytesMax - 1000)
})
