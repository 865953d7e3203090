import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import fc from 'fast-check'

import { EdgefnError } from '../../../../src/errors.ts'
import { QuotaFile } from '../../../../src/edge/quota.ts'
import { createAdmission } from '../../../../src/edge/worker/admit/admission.ts'
import { aFunction } from '../ingress/harness.ts'

const QUOTA_MODULE = resolve(import.meta.dir, '../../../../src/edge/quota.ts')
let dir: string
let files = 0

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'edgefn-quota-'))
})
afterAll(() => {
  rmSync(dir, { recursive: true, force: true })
})

const newFile = (workers = 2) => {
  files += 1
  const path = join(dir, `quotas-${files}`)
  return { path, quotas: new QuotaFile(path, workers) }
}
const rated = (requests_per_second: number, burst: number | null) => ({
  concurrency: null,
  requests_per_second,
  burst,
})

test('the rate holds over any stretch of time: at most burst + rate × time', () => {
  const { quotas } = newFile()
  let slot = 0
  const arrivals = fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 80 })
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 1, max: 10 }),
      arrivals,
      (rate, burst, gaps) => {
        slot += 1
        let now = 1_000_000
        const admitted: number[] = []
        for (const gap of gaps) {
          now += gap
          const wait = quotas.takeRate(slot, rated(rate, burst), now)
          if (wait === 0) admitted.push(now)
          // What was refused is admitted once it has waited as long as it was told, if nobody else came.
          else expect(wait).toBeLessThanOrEqual(1000 / rate + 0.001)
        }
        for (const [from, start] of admitted.entries()) {
          for (const [to, end] of admitted.entries()) {
            if (to < from) continue
            expect(to - from + 1).toBeLessThanOrEqual(burst + ((end - start) * rate) / 1000 + 1e-6)
          }
        }
      },
    ),
    { numRuns: 200 },
  )
})

test('without a burst as many may come at once as in a second', () => {
  const { quotas } = newFile()
  const waits = Array.from({ length: 6 }, () => quotas.takeRate(1, rated(5, null), 5_000))
  expect(waits.map((wait) => wait === 0)).toEqual([true, true, true, true, true, false])
  expect(waits[5]).toBeCloseTo(200, 3)
})

test('the concurrency is that of all workers, and a dead worker’s calls are forgotten', () => {
  const { path, quotas } = newFile()
  const other = new QuotaFile(path, 2)
  expect([quotas.enter(3, 0, 2), other.enter(3, 1, 2), quotas.enter(3, 0, 2)]).toEqual([
    true,
    true,
    false,
  ])
  expect(quotas.running(3)).toBe(2)
  quotas.clearWorker(1, [3])
  expect(quotas.enter(3, 0, 2)).toBe(true)
  quotas.clear(3)
  expect(quotas.running(3)).toBe(0)
})

test('a burst that decades would not bring back is cut, and never begins again from nothing', () => {
  const { quotas } = newFile()
  const rate = { requests_per_second: 1e-6, burst: 1_000_000 }
  const waits = Array.from({ length: 20_000 }, () => quotas.takeRate(6, rate, 1_000))
  const admitted = waits.filter((wait) => wait === 0).length
  expect(admitted).toBeWithin(2_000, 3_000)
  expect(waits.slice(admitted).every((wait) => wait > 0)).toBe(true)
})

test('a slot that is given to another function has its log lines again', () => {
  const { quotas } = newFile()
  const take = () => quotas.takeLogLine(5, 1, 90_000)
  expect([take(), take()]).toEqual([true, false])
  quotas.clear(5)
  expect([take(), take()]).toEqual([true, false])
  expect(quotas.takeLogLine(5, 1, 91_000)).toBe(true)
  // What is left is told without being taken, and all of it again in the next second.
  expect([quotas.logLinesLeft(5, 3, 91_500), quotas.logLinesLeft(5, 3, 91_500)]).toEqual([2, 2])
  expect(quotas.logLinesLeft(5, 1, 91_500)).toBe(0)
  expect(quotas.logLinesLeft(5, 3, 92_000)).toBe(3)
})

test('processes at once never admit more than the quota', async () => {
  const { path, quotas } = newFile(3)
  const script = `
    import { QuotaFile } from ${JSON.stringify(QUOTA_MODULE)}
    const quotas = new QuotaFile(${JSON.stringify(path)}, 3)
    const worker = Number(process.argv.at(-1))
    let most = 0
    for (let i = 0; i < 20000; i += 1) {
      if (!quotas.enter(7, worker, 2)) continue
      most = Math.max(most, quotas.running(7))
      quotas.leave(7, worker)
    }
    let admitted = 0
    for (let i = 0; i < 1000; i += 1) {
      if (quotas.takeRate(8, { concurrency: null, requests_per_second: 1, burst: 100 }, 50_000) === 0) admitted += 1
    }
    let lines = 0
    for (let i = 0; i < 3000; i += 1) if (quotas.takeLogLine(9, 1000, 70_000 + i / 10)) lines += 1
    console.log(JSON.stringify({ admitted, lines }))`
  const children = [0, 1, 2].map((worker) =>
    Bun.spawn([process.execPath, '-e', script, String(worker)], { stdout: 'pipe' }),
  )
  const outputs = await Promise.all(children.map((child) => child.stdout.text()))
  const results = outputs.map((text) => JSON.parse(text) as { admitted: number; lines: number })
  expect(results.reduce((sum, each) => sum + each.admitted, 0)).toBe(100)
  expect(results.reduce((sum, each) => sum + each.lines, 0)).toBe(1000)
  expect(quotas.running(7)).toBe(0)
}, 120_000)

test('a refusal names the quota, its limit and how long to wait', () => {
  const { quotas } = newFile()
  const admission = createAdmission({ quotas, worker: 0, nowMs: () => 9_000 })
  const refusalOf = (fn: ReturnType<typeof aFunction>) => {
    try {
      admission.admit(fn)
      return null
    } catch (thrown) {
      if (!(thrown instanceof EdgefnError)) throw thrown
      return { code: thrown.code, status: thrown.status, details: thrown.details }
    }
  }
  const busy = aFunction({
    slot: 1,
    quotas: { concurrency: 1, requests_per_second: null, burst: null },
  })
  admission.admit(busy)
  expect(refusalOf(busy)).toEqual({
    code: 'rate_limited',
    status: 429,
    details: { quota: 'concurrency', limit: 1, retry_after_ms: 1000 },
  })
  admission.release(busy)
  expect(refusalOf(busy)).toBeNull()
  const often = aFunction({
    slot: 2,
    quotas: { concurrency: 1, requests_per_second: 0.1, burst: 1 },
  })
  admission.admit(often)
  admission.release(often)
  expect(refusalOf(often)?.details).toEqual({
    quota: 'requests_per_second',
    limit: 0.1,
    retry_after_ms: 10_000,
  })
  // The refused call gave its place back.
  expect(quotas.running(2)).toBe(0)
})

test('versions that share a function’s traffic share its quotas, each held to its own', () => {
  const { quotas } = newFile()
  const admission = createAdmission({ quotas, worker: 0, nowMs: () => 9_000 })
  const limits = { requests_per_second: null, burst: null }
  const older = aFunction({ slot: 3, quota_slot: 3, quotas: { concurrency: 2, ...limits } })
  const newer = aFunction({ slot: 4, quota_slot: 3, quotas: { concurrency: 3, ...limits } })
  admission.admit(older)
  admission.admit(newer)
  expect(() => admission.admit(older)).toThrow('at most 2 calls')
  admission.admit(newer)
  expect(() => admission.admit(newer)).toThrow('at most 3 calls')
  for (const fn of [older, newer, newer]) admission.release(fn)
  expect(quotas.running(3)).toBe(0)
})
