import { afterEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import fc from 'fast-check'

import { guestMetrics } from '../../src/edge/agent/guest-metrics.ts'
import { GuestMetricsFile, readSeriesKey, seriesKey } from '../../src/edge/guest-metrics.ts'
import { GuestMetrics } from '../../src/edge/worker/host/guest-metrics.ts'
import { NodeLog } from '../../src/edge/worker/host/node-log.ts'
import { LIMITS } from '../../src/protocol/limits.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { Registry, renderMetrics } from '../../src/telemetry/metrics.ts'

const FN = '01890000-0000-7000-8000-000000000001'
const ADDER = join(import.meta.dir, 'guest-metrics-process.ts')

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close()
})

function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'edgefn-metrics-'))
  closers.push(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function openMetrics(dir = tempDir()) {
  const lines: string[] = []
  const write = (line: string) => void lines.push(line)
  const log = createLog({ component: 'test', level: 'debug', pretty: false, write })
  const metrics = new GuestMetrics(dir, new NodeLog(log, performance.now.bind(performance)))
  const bytes = (text: string | Uint8Array) => (typeof text === 'string' ? Buffer.from(text) : text)
  const increment = (
    name: string | Uint8Array,
    labels: string | Uint8Array = '',
    value = 1,
    id = FN,
  ) => metrics.increment(id, bytes(name), bytes(labels), value)
  return { dir, lines, increment }
}

/** The lines of `/metrics`, without comments. */
async function exposition(dir: string, ids = [FN]): Promise<string[]> {
  const { text } = await renderMetrics(new Registry(), guestMetrics(dir, ids))
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

test('counters of a function add up over handles, whatever the order of their labels', async () => {
  const { dir, increment } = openMetrics()
  const other = openMetrics(dir)
  expect(increment('hits', 'path=/a\nmethod=GET', 2)).toBe(0)
  expect(other.increment('hits', 'method=GET\npath=/a\n', 0.5)).toBe(0)
  expect(increment('hits', 'method=GET\npath=/a\nempty=')).toBe(0)
  expect(increment('misses')).toBe(0)
  expect(await exposition(dir)).toEqual([
    `edgefn_guest_metric_total{function_id="${FN}",name="hits",method="GET",path="/a"} 3.5`,
    `edgefn_guest_metric_total{function_id="${FN}",name="misses"} 1`,
    `edgefn_guest_metrics_dropped_total{function_id="${FN}"} 0`,
    'edgefn_guest_series_hidden 0',
  ])
})

test.each([
  ['', '', -2],
  ['has space', '', -2],
  ['1st', '', -2],
  ['a"} 1\nb{x="', '', -2],
  ['ümlaut', '', -2],
  [Uint8Array.of(0x61, 0xff), '', -2],
  ['dotted.name:of-things', '', 0],
  ['a', 'no equals', -2],
  ['a', '=v', -2],
  ['a', 'bad-label=v', -2],
  ['a', '__name__=v', -2],
  ['a', 'function_id=other', -2],
  ['a', 'name=other', -2],
  ['a', 'le=1', -2],
  ['a', 'quantile=1', -2],
  ['a', 'x=1\nx=2', -2],
  ['a', 'x=1\n\ny=2', -2],
  ['a', 'x=tab\there', -2],
  ['a', 'x=\r', -2],
  ['a', Uint8Array.of(0x78, 0x3d, 0xc3, 0x28), -2],
  ['a', 'x=quote " backslash \\ brace } = ü', 0],
  ['a', `x=${'v'.repeat(129)}`, -3],
  ['a', `x=${'ü'.repeat(65)}`, -3],
  ['a', `x=${'v'.repeat(128)}`, 0],
  ['a', `${'l'.repeat(65)}=v`, -3],
  [
    'a',
    'abcdefgh'
      .split('')
      .map((label) => `${label}=1`)
      .join('\n'),
    0,
  ],
  [
    'a',
    'abcdefghi'
      .split('')
      .map((label) => `${label}=1`)
      .join('\n'),
    -3,
  ],
  [
    'a',
    'abcd'
      .split('')
      .map((label) => `${label}=${'v'.repeat(128)}`)
      .join('\n'),
    -3,
  ],
])('increment(%p, %p) is %p', (name, labels, expected) => {
  expect(openMetrics().increment(name, labels)).toBe(expected)
})

test('a function has so many series, the others are counted as dropped, and those it has go on', async () => {
  const { dir, increment } = openMetrics()
  for (let n = 0; n < LIMITS.guestSeriesMax; n += 1) expect(increment('n', `n=${n}`)).toBe(0)
  for (let n = 0; n < 7; n += 1) expect(increment('n', `n=more${n}`)).toBe(-4)
  expect(increment('n', 'n=0')).toBe(0)
  expect(increment('n', 'n=0', 1, FN.replace(/1$/, '2'))).toBe(0)
  const lines = await exposition(dir)
  expect(lines.length).toBe(LIMITS.guestSeriesMax + 2)
  expect(lines).toContain(`edgefn_guest_metric_total{function_id="${FN}",name="n",n="0"} 2`)
  expect(lines).toContain(`edgefn_guest_metrics_dropped_total{function_id="${FN}"} 7`)
})

test('of more series than are shown, each function has an equal share', () => {
  const { dir, increment } = openMetrics()
  const count = Math.ceil(LIMITS.guestSeriesShownMax / LIMITS.guestSeriesMax) + 50
  const ids = Array.from({ length: count }, (_, n) => FN.slice(0, -3) + String(n).padStart(3, '0'))
  for (const id of ids) {
    for (let n = 0; n < LIMITS.guestSeriesMax; n += 1) increment('n', `n=${n}`, 1, id)
  }
  const [shown, , hidden] = guestMetrics(dir, ids)
  const share = Math.floor(LIMITS.guestSeriesShownMax / count)
  expect(shown?.values.length).toBe(count * share)
  expect(hidden?.values[0]?.value).toBe(count * (LIMITS.guestSeriesMax - share))
}, 120_000)

test('P37: whatever a guest writes, /metrics has one line per series and no other', async () => {
  const text = fc.string({ unit: 'binary', maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(text, text), { maxLength: 10 }), async (written) => {
      const { dir, increment } = openMetrics()
      const accepted = written.filter(([name, value]) => {
        const results = [increment(`n${name}`, `label=${value}`), increment('x', value)]
        return results.includes(0)
      })
      const series = new Set(
        GuestMetricsFile.read(join(dir, FN))
          ?.series()
          .map(({ key }) => key),
      )
      const lines = await exposition(dir)
      const line =
        /^edgefn_guest_metric_total\{function_id="[^"]+",name="[\w.:-]+"(?:,[A-Za-z_]\w*="(?:[^"\\\n]|\\[\\"n])*")*\} \d+$/
      const shown = lines.filter((each) => line.test(each))
      expect(shown.length).toBe(series.size)
      expect(lines.length - shown.length).toBe(written.length > 0 ? 2 : 1)
      expect(series.size).toBeGreaterThanOrEqual(Math.min(accepted.length, 1))
    }),
    { numRuns: 100 },
  )
})

test('a key is read as it was made', () => {
  const label = fc.stringMatching(/^[a-z_]{1,8}$/)
  const value = fc.string({ maxLength: 20 }).filter((each) => !each.includes('\n'))
  fc.assert(
    fc.property(fc.dictionary(label, value), (labels) => {
      const key = seriesKey('name', Object.entries(labels))
      expect(readSeriesKey(key)).toEqual({ name: 'name', labels: { ...labels } })
    }),
    { numRuns: 100 },
  )
})

test('processes that add at the same time lose nothing, and a killed one takes nothing along', async () => {
  const dir = tempDir()
  const adders = [1, 2, 3, 4].map(() =>
    Bun.spawn([process.execPath, ADDER, dir, FN, '20000'], { stdout: 'pipe' }),
  )
  for (const adder of adders) closers.push(() => adder.kill('SIGKILL'))
  const outputs = await Promise.all(adders.map((adder) => adder.stdout.text()))
  expect(outputs).toEqual(Array(4).fill('done\n'))
  const expected = `edgefn_guest_metric_total{function_id="${FN}",name="shared"} 80000`
  expect(await exposition(dir)).toContain(expected)

  const endless = Bun.spawn([process.execPath, ADDER, dir, FN, '1e12'], { stdout: 'pipe' })
  const total = () =>
    GuestMetricsFile.read(join(dir, FN))
      ?.series()
      .find(({ key }) => key === 'shared')?.value ?? 0
  while (total() < 90_000) await Bun.sleep(5)
  endless.kill('SIGKILL')
  await endless.exited
  expect(total()).toBeGreaterThanOrEqual(90_000)
}, 120_000)

test('a record whose thread died over it costs its place and nothing else', async () => {
  const { dir, increment } = openMetrics()
  increment('first')
  // The state of the second record: claimed, never published.
  const words = new Int32Array(Bun.mmap(join(dir, FN), { shared: true }).buffer)
  words[(64 + 512) / 4] = 1
  expect(increment('second')).toBe(0)
  expect(openMetrics(dir).increment('second')).toBe(0)
  expect(await exposition(dir)).toContain(
    `edgefn_guest_metric_total{function_id="${FN}",name="second"} 2`,
  )
})

test('counters that cannot be kept are an errno, and one line in the log', () => {
  const dir = tempDir()
  writeFileSync(join(dir, 'in-the-way'), '')
  const { increment, lines } = openMetrics(join(dir, 'in-the-way'))
  for (let n = 0; n < 20; n += 1) expect(increment('a')).toBe(-5)
  expect(lines.length).toBe(1)
})
