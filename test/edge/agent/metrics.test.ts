/** What /metrics says of calls: real requests over real sockets, counted in the shared files, rendered as Prometheus reads it. */

import { expect, test } from 'bun:test'

import fc from 'fast-check'

import { createAgentMetrics } from '../../../src/edge/agent/metrics.ts'
import {
  CALL_ERROR_CODES,
  DISPATCH_BUCKETS,
  DISPATCH_PARTS,
  Tally,
} from '../../../src/edge/stats.ts'
import type { Outcome } from '../../../src/edge/worker/call.ts'
import { LATENCY_BUCKETS } from '../../../src/telemetry/metrics.ts'
import { aFunction, answered, failed, openIngress } from '../worker/ingress/harness.ts'
import type { IngressOptions } from '../worker/ingress/harness.ts'

const FIGURES = {
  node_id: 'n',
  pop_id: 'p',
  version: '1',
  workers: 2,
  worker_restarts: [0, 0],
  revision: 1,
  syncs: { succeeded: 0, failed: 0 },
  cp_connected: true,
  mqtt_connected: true,
  cache: { bytes: 0, files: 0 },
  compiles: null,
  compiled: { bytes: 0, files: 0 },
  cpu_seconds: 0,
  resident_bytes: 0,
  memory_pressure: 0,
  telemetry: { batches: 0, bytes: 0, dropped: 0 },
}

type Ingress = ReturnType<typeof openIngress>

/** Several workers of a node with what its agent renders of them. */
function openNode(workers: readonly IngressOptions[]) {
  const ingresses = workers.map((options) => openIngress(options))
  const slots = new Map(ingresses.map(({ fn }) => [fn.function_id as string, fn.slot]))
  const stats = ingresses.map((ingress) => ingress.stats)
  const metrics = createAgentMetrics({
    stats,
    functions: () => slots.entries().map(([id, slot]) => [id, new Tally().add(stats, slot)]),
    versions: () => [],
    guestMetrics: () => [],
    figures: () => FIGURES,
    health: () => ({ deaths: new Map(), blamed: new Map(), quarantines: [], breakers: [] }),
  })
  return {
    ingresses,
    call: async (worker: number) => {
      const { url } = ingresses[worker] as Ingress
      return (await fetch(url)).text()
    },
    /** Every sample by its name and labels as they are written, the labels in the order of the alphabet. */
    scrape: async () => {
      const { text } = await metrics.render()
      const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
      return new Map(samples.map((line) => [sampleKey(line), Number(line.split(' ').at(-1))]))
    },
    [Symbol.dispose]: () => ingresses.forEach((ingress) => ingress.close()),
  }
}

function sampleKey(line: string): string {
  const [, name = '', labels = ''] = /^([^{ ]+)(?:\{(.*)\})? /.exec(line) ?? []
  return `${name}{${labels.split(',').sort().join()}}`
}

const OUTCOMES = fc.constantFrom('ok', ...CALL_ERROR_CODES)
const outcomeOf = (code: string): Outcome =>
  code === 'ok' ? answered('x') : failed(code as 'internal', 'It failed.')

test('P16: the count of calls grows by one with every call, and never falls, whatever becomes of call or worker', async () => {
  const steps = fc.array(fc.record({ worker: fc.nat(1), code: OUTCOMES, dies: fc.boolean() }), {
    minLength: 1,
    maxLength: 4,
  })
  await fc.assert(
    fc.asyncProperty(steps, async (calls) => {
      const fn = aFunction()
      let next = 'ok'
      using node = openNode([0, 1].map(() => ({ fn, invoke: () => outcomeOf(next) })))
      const counted = `wasm_invoke_count_total{function_id="${fn.function_id}"}`
      let before = await node.scrape()
      for (const [made, { worker, code, dies }] of calls.entries()) {
        next = code
        await node.call(worker)
        // The agent does this when a worker has died; another one goes on in the same file.
        if (dies) node.ingresses[worker]?.stats.clearGauges([fn.slot])
        const after = await node.scrape()
        expect(after.get(counted)).toBe(made + 1)
        for (const [name, value] of before) {
          if (/_total\{|_bucket\{|_count\{/.test(name)) {
            expect(after.get(name)).toBeGreaterThanOrEqual(value)
          }
        }
        before = after
      }
    }),
    { numRuns: 100 },
  )
}, 120_000)

test('P17: the time of every call is in the histogram, in the bucket where it belongs', async () => {
  const waits = fc.array(fc.record({ worker: fc.nat(1), ms: fc.nat(6), code: OUTCOMES }), {
    minLength: 1,
    maxLength: 4,
  })
  await fc.assert(
    fc.asyncProperty(waits, async (calls) => {
      const fn = aFunction()
      let next: { ms: number; code: string } = { ms: 0, code: 'ok' }
      const invoke = async () => {
        const until = performance.now() + next.ms
        while (performance.now() < until) await Bun.sleep(1)
        return outcomeOf(next.code)
      }
      using node = openNode([0, 1].map(() => ({ fn, invoke })))
      const took: number[] = []
      for (const call of calls) {
        next = call
        const begun = performance.now()
        await node.call(call.worker)
        took.push((performance.now() - begun) / 1000)
      }
      const samples = await node.scrape()
      const bucket = (le: string) =>
        samples.get(
          `wasm_invoke_latency_seconds_bucket{function_id="${fn.function_id}",le="${le}"}`,
        ) ?? Number.NaN
      for (const le of LATENCY_BUCKETS) {
        // At least those that the client saw end in time, at most those whose guest did not take longer by itself.
        const atLeast = took.filter((seconds) => seconds <= le).length
        const atMost = calls.filter(({ ms }) => ms / 1000 <= le).length
        expect(bucket(String(le))).toBeWithin(atLeast, atMost + 1)
      }
      expect(bucket('+Inf')).toBe(calls.length)
      const label = `{function_id="${fn.function_id}"}`
      expect(samples.get(`wasm_invoke_latency_seconds_count${label}`)).toBe(calls.length)
      const slept = calls.reduce((sum, { ms }) => sum + ms / 1000, 0)
      const seen = took.reduce((sum, seconds) => sum + seconds, 0)
      const sum = samples.get(`wasm_invoke_latency_seconds_sum${label}`) ?? Number.NaN
      expect(sum).toBeGreaterThanOrEqual(slept)
      expect(sum).toBeLessThanOrEqual(seen)
    }),
    { numRuns: 100 },
  )
}, 120_000)

test('P18: every failed call is counted under its function and its code, and no other', async () => {
  const calls = fc.array(fc.record({ worker: fc.nat(1), code: OUTCOMES }), { maxLength: 8 })
  await fc.assert(
    fc.asyncProperty(calls, async (made) => {
      let next = 'ok'
      const invoke = () => outcomeOf(next)
      using node = openNode([
        { fn: aFunction({ slot: 0 }), invoke },
        { fn: aFunction({ slot: 3 }), invoke },
      ])
      const wanted = new Map<string, number>()
      for (const { worker, code } of made) {
        next = code
        await node.call(worker)
        if (code === 'ok') continue
        const id = node.ingresses[worker]?.fn.function_id
        const name = `wasm_invoke_errors_total{code="${code}",function_id="${id}"}`
        wanted.set(name, (wanted.get(name) ?? 0) + 1)
      }
      const errors = [...(await node.scrape())].filter(([name]) =>
        name.startsWith('wasm_invoke_errors_total'),
      )
      expect(new Map(errors.filter(([name]) => name.includes('code=')))).toEqual(wanted)
    }),
    { numRuns: 100 },
  )
}, 120_000)

test('P19: a module from the local cache is a hit, one that had to be fetched a miss', async () => {
  const calls = fc.array(fc.constantFrom('cached', 'missing', 'damaged'), {
    minLength: 1,
    maxLength: 5,
  })
  await fc.assert(
    fc.asyncProperty(calls, async (made) => {
      // One worker per state of the cache: the function is there, is not, or its file is not what it should be.
      let fetched = 0
      const fetching = (fn: IngressOptions['fn'], invoke: IngressOptions['invoke']) => ({
        ...(fn === undefined ? {} : { fn }),
        ...(invoke === undefined ? {} : { invoke }),
        onFetch: (wanted: { function_id: string; version: number }) => {
          fetched += 1
          queueMicrotask(() => {
            for (const { onDemand } of node.ingresses)
              onDemand.fetched(wanted.function_id, wanted.version, '/fetched', null)
          })
          return true
        },
      })
      const whole: IngressOptions['invoke'] = (fn) =>
        fn.path === '/damaged' ? failed('artifact_mismatch', 'Damaged.') : answered('x')
      using node = openNode([
        fetching(aFunction({ slot: 0 }), whole),
        fetching(aFunction({ slot: 1, path: null }), whole),
        fetching(aFunction({ slot: 2, path: '/damaged' }), whole),
      ])
      const order = ['cached', 'missing', 'damaged']
      for (const state of made) expect(await node.call(order.indexOf(state))).toBe('x')
      const samples = await node.scrape()
      let hits = 0
      let misses = 0
      for (const { fn } of node.ingresses) {
        const label = `{function_id="${fn.function_id}"}`
        hits += samples.get(`wasm_cache_hits_total${label}`) ?? Number.NaN
        misses += samples.get(`wasm_cache_misses_total${label}`) ?? Number.NaN
      }
      expect([hits, misses]).toEqual([
        made.filter((state) => state === 'cached').length,
        made.filter((state) => state !== 'cached').length,
      ])
      expect(misses).toBe(fetched)
    }),
    { numRuns: 100 },
  )
}, 120_000)

test('what edgefn takes before and after the guest is in the histogram of its part, over all workers', async () => {
  const observations = fc.array(
    fc.record({
      worker: fc.nat(1),
      part: fc.constantFrom(...DISPATCH_PARTS),
      // On the limits of buckets as well as between them and past the last.
      seconds: fc.oneof(
        fc.constantFrom(...DISPATCH_BUCKETS),
        fc.double({ min: 0, max: 0.2, noNaN: true }),
      ),
    }),
    { maxLength: 20 },
  )
  using node = openNode([{}, {}])
  const made = new Map(DISPATCH_PARTS.map((part) => [part, [] as number[]]))
  await fc.assert(
    fc.asyncProperty(observations, async (observed) => {
      for (const { worker, part, seconds } of observed) {
        node.ingresses[worker]?.stats.observeDispatch(part, seconds)
        made.get(part)?.push(seconds)
      }
      const samples = await node.scrape()
      for (const [part, all] of made) {
        const sample = (name: string) => samples.get(`edgefn_dispatch_seconds_${name}`) ?? -1
        for (const le of DISPATCH_BUCKETS) {
          const within = all.filter((seconds) => seconds <= le).length
          expect(sample(`bucket{le="${le}",part="${part}"}`)).toBe(within)
        }
        expect(sample(`bucket{le="+Inf",part="${part}"}`)).toBe(all.length)
        expect(sample(`count{part="${part}"}`)).toBe(all.length)
        const sum = all.reduce((total, seconds) => total + seconds, 0)
        expect(sample(`sum{part="${part}"}`)).toBeCloseTo(sum, 9)
      }
    }),
    { numRuns: 30 },
  )
})

test('answers of 500 and above that a guest gives itself are counted apart from calls that fail', async () => {
  const statuses = [200, 404, 499, 500, 503, 599]
  let status = 200
  using node = openNode([{ fn: aFunction(), invoke: () => answered('x', { status }) }])
  for (status of statuses) await node.call(0)
  const samples = await node.scrape()
  const label = `{function_id="${node.ingresses[0]?.fn.function_id}"}`
  expect(samples.get(`edgefn_server_errors_total${label}`)).toBe(3)
  expect(samples.get(`wasm_invoke_count_total${label}`)).toBe(6)
  expect([...samples.keys()].some((name) => name.includes('code='))).toBe(false)
})
