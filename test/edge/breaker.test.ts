/** The circuit breaker as a state machine and in its file, against models. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import fc from 'fast-check'

import type { Breaker, Verdict } from '../../src/edge/breaker.ts'
import {
  admit,
  BREAKER_STATES,
  CLOSED,
  isTripped,
  openMs,
  settleProbe,
  trip,
  verdictOf,
  workerDied,
} from '../../src/edge/breaker.ts'
import { BreakerFile, decode, encode } from '../../src/edge/breaker-file.ts'
import { LIMITS } from '../../src/protocol/limits.ts'

const { breakerCallsMin, breakerProbesMax, breakerOpenMsMin, breakerOpenMsMax } = LIMITS
const start = 1_800_000_000_000
const probeMs = 20_000

let dir: string
let files = 0

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'edgefn-breaker-'))
})
afterAll(() => {
  rmSync(dir, { recursive: true, force: true })
})

function openFile(): BreakerFile {
  files += 1
  return new BreakerFile(join(dir, String(files)))
}

const breakers = fc.record({
  state: fc.constantFrom('open', 'half_open'),
  until: fc.integer({ min: start, max: start + 1e9 }),
  level: fc.nat(63),
  running: fc.nat(31),
  succeeded: fc.nat(31),
}) satisfies fc.Arbitrary<Breaker>

describe('what a call says', () => {
  test('guests that do not come to an answer have failed; clients, quotas and the node say nothing', () => {
    expect(verdictOf(null)).toBe('success')
    for (const code of [
      'function_trap',
      'execution_timeout',
      'stack_overflow',
      'memory_limit',
      'function_error',
      'function_load_failed',
      'invalid_response',
      'worker_lost',
    ] as const) {
      expect(verdictOf(code)).toBe('failure')
    }
    for (const code of [
      'body_too_large',
      'rate_limited',
      'overloaded',
      'client_gone',
      'function_unavailable',
      'shutting_down',
      'internal',
      'circuit_open',
      'function_quarantined',
    ] as const) {
      expect(verdictOf(code)).toBe('nothing')
    }
  })
})

test('a breaker’s word holds all of it, and zero is closed', () => {
  expect(decode(0n)).toEqual(CLOSED)
  expect(encode(CLOSED)).toBe(0n)
  fc.assert(
    fc.property(breakers, (breaker) => expect(decode(encode(breaker))).toEqual(breaker)),
    { numRuns: 1000 },
  )
})

test('it never opens below the least number of calls or of failures, and always above both', () => {
  const windows = fc
    .nat(400)
    .chain((calls) => fc.record({ calls: fc.constant(calls), failures: fc.nat(calls) }))
  fc.assert(
    fc.property(windows, (window) => {
      const due = window.calls >= breakerCallsMin && window.failures * 2 >= window.calls
      expect(trip(CLOSED, window, start).state).toBe(due ? 'open' : 'closed')
    }),
    { numRuns: 1000 },
  )
})

/** Transitions that may be seen from one step to the next. */
const LEGAL: Readonly<Record<string, readonly string[]>> = {
  closed: ['closed', 'open'],
  open: ['open', 'half_open'],
  half_open: ['half_open', 'open', 'closed'],
}

interface Probe {
  readonly period: number
  readonly startedAt: number
}

const steps = fc.array(
  fc.record({
    waitMs: fc.oneof(fc.nat(100), fc.nat(10_000), fc.nat(100_000)),
    what: fc.constantFrom('call', 'success', 'failure', 'nothing', 'death', 'trip'),
    which: fc.nat(),
  }),
  { maxLength: 60 },
)

test('any history: transitions are legal, no more probes run than may, it closes by successes only and opens for longer each time', () => {
  fc.assert(
    fc.property(steps, (history) => {
      let now = start
      let breaker: Breaker = CLOSED
      let probes: Probe[] = []
      const step = (next: Breaker, why: string) => {
        expect(LEGAL[breaker.state]).toContain(next.state)
        if (breaker.state === 'half_open' && next.state === 'closed') {
          expect([why, breaker.succeeded]).toEqual(['success', breakerProbesMax - 1])
        }
        if (breaker.state !== 'open' && next.state === 'open') {
          expect(next.until - now).toBe(openMs(next.level))
          expect(next.level).toBe(breaker.state === 'closed' ? 0 : Math.min(breaker.level + 1, 63))
        }
        breaker = next
      }
      for (const { waitMs, what, which } of history) {
        now += waitMs
        if (what === 'call') {
          const wasOpen = breaker.state === 'open' && breaker.until > now
          const admitted = admit(breaker, now, probeMs)
          if (wasOpen) expect(admitted.kind).toBe('refused')
          if (admitted.kind === 'call') expect(breaker.state).toBe('closed')
          else step(admitted.next, 'call')
          if (admitted.kind === 'probe')
            probes.push({ period: admitted.next.until, startedAt: now })
          if (admitted.kind === 'refused')
            expect(admitted.retryMs).toBeWithin(1, breakerOpenMsMax + 1)
        } else if (what === 'death') {
          step(workerDied(breaker, { calls: 0, failures: 0 }, now), what)
        } else if (what === 'trip') {
          step(trip(breaker, { calls: breakerCallsMin, failures: breakerCallsMin }, now), what)
        } else if (probes.length > 0) {
          const probe = probes[which % probes.length]
          probes = probes.filter((each) => each !== probe)
          step(settleProbe(breaker, probe?.period ?? 0, what, now), what)
        }
        const current = probes.filter(
          ({ period }) => breaker.state === 'half_open' && period === breaker.until,
        )
        expect(current.length).toBeLessThanOrEqual(breakerProbesMax)
        expect(breaker.running + breaker.succeeded).toBeLessThanOrEqual(breakerProbesMax)
      }
    }),
    { numRuns: 2000 },
  )
})

test('an open one lets a probe through when its time is over, whatever the clock does', () => {
  const open: Breaker = { ...CLOSED, state: 'open', until: start + breakerOpenMsMin, level: 0 }
  expect(admit(open, start, probeMs)).toMatchObject({ kind: 'refused', retryMs: breakerOpenMsMin })
  expect(admit(open, start + breakerOpenMsMin, probeMs).kind).toBe('probe')
  // Set back by a day: not closed for a day.
  expect(admit(open, start - 86_400_000, probeMs).kind).toBe('probe')
  expect(isTripped(open, start)).toBe(true)
  expect(isTripped(open, start + breakerOpenMsMin)).toBe(false)
  expect(openMs(100)).toBe(breakerOpenMsMax)
})

test('probes that never come back count as failed, and make it open again', () => {
  const probing = admit({ ...CLOSED, state: 'open', until: start }, start, probeMs)
  if (probing.kind !== 'probe') throw new Error('It was not a probe.')
  const later = admit(probing.next, start + probeMs, probeMs)
  expect(later).toMatchObject({ kind: 'refused', next: { state: 'open', level: 1 } })
})

describe('in the file', () => {
  const fn = { slot: 5, version: 1, max_execution_ms: 500 }

  function call(file: BreakerFile, verdict: Verdict, now: number, of = fn): boolean {
    const ticket = file.enter(of, () => now)
    if (typeof ticket === 'number') return false
    file.settle(ticket, verdict, now)
    return true
  }

  test('the window counts what a list of calls does, for buckets of two seconds', () => {
    const gaps = fc.array(fc.tuple(fc.nat(3000), fc.boolean()), { maxLength: 100 })
    fc.assert(
      fc.property(gaps, (calls) => {
        const file = openFile()
        const list: [number, boolean][] = []
        let now = start
        for (const [gap, failed] of calls) {
          now += gap
          // Never as many failures as open it.
          call(file, failed && list.length < 20 ? 'failure' : 'success', now)
          list.push([now, failed && list.length < 20])
        }
        const first = (Math.floor(now / 2000) - 4) * 2000
        const recent = list.filter(([at]) => at >= first)
        expect(file.window(fn.slot, now)).toEqual({
          calls: recent.length,
          failures: recent.filter(([, failed]) => failed).length,
        })
      }),
      { numRuns: 100 },
    )
  })

  test('many calls a second do not overflow a bucket', () => {
    const file = openFile()
    for (let index = 0; index < 5000; index += 1) call(file, 'success', start)
    expect(file.window(fn.slot, start)).toEqual({ calls: 1023, failures: 0 })
    expect(file.read(fn.slot).state).toBe('closed')
  })

  test('it opens, tries and closes, counts how often, and forgets the calls that opened it', () => {
    const file = openFile()
    for (let index = 0; index < breakerCallsMin; index += 1) call(file, 'failure', start)
    expect(file.read(fn.slot).state).toBe('open')
    expect(file.waitMs(fn, start + 1)).toBe(breakerOpenMsMin - 1)
    expect(call(file, 'success', start + 1)).toBe(false)
    const after = start + breakerOpenMsMin
    const tickets = Array.from({ length: 5 }, () => file.enter(fn, () => after))
    expect(tickets.filter((ticket) => typeof ticket === 'object')).toHaveLength(breakerProbesMax)
    for (const ticket of tickets)
      if (typeof ticket === 'object') file.settle(ticket, 'success', after)
    expect(file.read(fn.slot)).toEqual(CLOSED)
    expect(call(file, 'failure', after)).toBe(true)
    expect(file.read(fn.slot).state).toBe('closed')
    expect(file.opened(fn.slot)).toBe(1)
    expect(file.window(9, after)).toEqual({ calls: 0, failures: 0 })
  })

  test('another version begins closed, and late results of the one before do not concern it', () => {
    const file = openFile()
    const late = Array.from({ length: breakerCallsMin }, () => file.enter(fn, () => start))
    for (let index = 0; index < breakerCallsMin; index += 1) call(file, 'failure', start)
    const next = { ...fn, version: 2 }
    expect(call(file, 'success', start, next)).toBe(true)
    for (const ticket of late) if (typeof ticket === 'object') file.settle(ticket, 'failure', start)
    expect(file.read(fn.slot)).toEqual(CLOSED)
    expect(file.window(fn.slot, start)).toEqual({ calls: 1, failures: 0 })
  })

  test('a worker that died with a probe opens it again', () => {
    const file = openFile()
    for (let index = 0; index < breakerCallsMin; index += 1) call(file, 'failure', start)
    const after = start + breakerOpenMsMin
    file.enter(fn, () => after)
    file.workerDied(fn.slot, fn.version, after)
    expect(file.read(fn.slot)).toMatchObject({ state: 'open', level: 1 })
    file.workerDied(fn.slot, 7, after)
    expect(file.opened(fn.slot)).toBe(2)
  })

  test('processes at once let no more probes through than may, and lose no count', async () => {
    const path = join(dir, 'shared')
    const file = new BreakerFile(path)
    for (let index = 0; index < breakerCallsMin; index += 1) call(file, 'failure', start)
    const script = `
      const { BreakerFile } = await import(${JSON.stringify(resolve(import.meta.dir, '../../src/edge/breaker-file.ts'))})
      const file = new BreakerFile(${JSON.stringify(path)})
      const fn = { slot: 5, version: 1, max_execution_ms: 500 }
      let probes = 0
      for (let round = 0; round < 1000; round += 1) {
        if (typeof file.enter(fn, () => ${start + breakerOpenMsMin}) === 'object') probes += 1
        const other = file.enter({ ...fn, slot: 6 }, () => ${start})
        if (round < 200) file.settle(other, 'success', ${start})
      }
      console.log(probes)`
    const children = Array.from({ length: 4 }, () =>
      Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'inherit' }),
    )
    const counts = await Promise.all(
      children.map(async (child) => Number(await child.stdout.text())),
    )
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(breakerProbesMax)
    expect(file.window(6, start)).toEqual({ calls: 800, failures: 0 })
  })
})

test('the states are numbered as the metric says', () => {
  expect(BREAKER_STATES).toEqual(['closed', 'open', 'half_open'])
})
