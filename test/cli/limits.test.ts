/** The table of effective limits, as a function of `LIMITS` and a version's record. */

import { expect, test } from 'bun:test'

import fc from 'fast-check'

import { effectiveLimits } from '../../src/cli/limits/effective-limits.ts'
import { limitName, limitText, unitOf } from '../../src/cli/limits/limit-name.ts'
import { versionViewSchema } from '../../src/protocol/api.ts'
import { LIMITS } from '../../src/protocol/limits.ts'
import { quotasSchema } from '../../src/protocol/manifest.ts'
import { MODULE_LIMITS } from '../../src/wasm/limits.ts'

function aVersion(fields: Record<string, unknown> = {}) {
  return versionViewSchema.parse({
    function_id: Bun.randomUUIDv7(),
    name: 'hello',
    version: 1,
    state: 'ready',
    entrypoint: 'handle',
    memory_pages: 16,
    max_execution_ms: 500,
    quotas: {},
    env: {},
    secrets: {},
    http_allow: [],
    isolation: 'instance',
    abi: 'edgefn',
    sha256: 'a'.repeat(64),
    uploaded_sha256: 'a'.repeat(64),
    size_bytes: 1000,
    artifact_url: null,
    forced: false,
    compatibility: null,
    message: '',
    created_at: new Date(0).toISOString(),
    ...fields,
  })
}

const named = (version = aVersion()) =>
  new Map(effectiveLimits(version).map((limit) => [limit.name, limit]))

test('every numeric limit that applies to a function is there, once', () => {
  const limits = effectiveLimits(aVersion())
  const names = limits.map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
  for (const key of Object.keys(quotasSchema.shape)) expect(names).toContain(key)
  // What a call meets on its way, by the words that name it; minimums are bounds of a setting, not limits of a call.
  const applies =
    /^(?:request|response|log(?!Level)|pool|queue|stack|http|fetch(?!Attempts)|kv|guest(?!SeriesShown)|breaker|process|module|variable)/
  for (const key of Object.keys(LIMITS)) {
    if (!applies.test(key) || /^queueWait/.test(key)) continue
    expect(names).toContain(limitName(key))
  }
  for (const key of Object.keys(MODULE_LIMITS)) {
    if (/^(?:moduleBytes|memoryPages|validationStepsFree)/.test(key)) continue
    expect(names).toContain(`module_${limitName(key)}`)
  }
  expect(names).toContain('memory_pages')
  expect(names).toContain('max_execution_ms')
})

test('a version’s own limits and quotas are told as they are, with who decided them', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 256 }),
      fc.integer({ min: 1, max: 900_000 }),
      fc.option(fc.integer({ min: 1, max: 10_000 })),
      fc.option(fc.double({ min: 0.001, max: 1_000_000, noNaN: true })),
      fc.option(fc.integer({ min: 1, max: 1_000_000 })),
      fc.option(fc.integer({ min: 10, max: 10_000 })),
      (memory_pages, max_execution_ms, concurrency, rate, burst, queue_wait_ms) => {
        const quotas = { concurrency, requests_per_second: rate, burst, queue_wait_ms }
        const limits = named(aVersion({ memory_pages, max_execution_ms, quotas }))
        const shown = (name: string) => {
          const { value, source } = limits.get(name) ?? {}
          return [value, source]
        }
        expect(shown('memory_pages')).toEqual([
          memory_pages,
          memory_pages === 16 ? 'default' : 'version',
        ])
        expect(shown('max_execution_ms')).toEqual([
          max_execution_ms,
          max_execution_ms === 500 ? 'default' : 'version',
        ])
        const given = (value: number | null) => (value === null ? 'default' : 'quota')
        expect(shown('concurrency')).toEqual([concurrency, given(concurrency)])
        expect(shown('requests_per_second')).toEqual([rate, given(rate)])
        const atOnce = rate === null ? null : (burst ?? Math.max(Math.ceil(rate), 1))
        expect(shown('burst')).toEqual([atOnce, given(burst)])
        expect(shown('queue_wait_ms')).toEqual([queue_wait_ms ?? 10_000, given(queue_wait_ms)])
      },
    ),
    { numRuns: 200 },
  )
})

test('a large module runs few calls at once, by its own size', () => {
  expect(named(aVersion({ size_bytes: 30_000_000 })).get('calls_at_once')).toMatchObject({
    value: 1,
    source: 'version',
  })
  expect(named().get('calls_at_once')).toMatchObject({ value: 7, source: 'node option' })
})

test('names and units come from how a limit is called', () => {
  expect(['logMessageBytesMax', 'poolInstancesMin', 'fetchMsMax'].map(limitName)).toEqual([
    'log_message_bytes',
    'pool_instances_min',
    'fetch_ms',
  ])
  expect(['logMessageBytesMax', 'logMessagesPerSecondMax', 'fetchMsMax'].map(unitOf)).toEqual([
    'bytes',
    'per second',
    'ms',
  ])
  expect([limitText(null, 'ms'), limitText(2048, 'bytes'), limitText(5, 'ms')]).toEqual([
    'none',
    '2.0 KiB',
    '5 ms',
  ])
})
