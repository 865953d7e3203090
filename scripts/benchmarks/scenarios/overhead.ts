/** What the node itself takes of a request, by its own histogram; and how late a guest that never ends is stopped. */

import { atMost } from '../goals.ts'
import {
  bucketsBetween,
  countOf,
  histogramQuantile,
  parseHistogram,
  type Bucket,
} from '../histogram.ts'
import { LatencyClient } from '../latency-client.ts'
import { guestPath } from '../scenario.ts'
import type { Bench, Scenario, ScenarioResult } from '../scenario.ts'
import { Edgefn } from '../servers/edgefn.ts'
import { median, quantile } from '../statistics.ts'
import { figure, type Table } from '../table.ts'
import { runWrk } from '../wrk.ts'

const METRIC = 'edgefn_dispatch_seconds'
const PARTS = ['enter', 'leave'] as const
const LIMIT_MS = 100
/** Fewer than would open the function's circuit breaker. */
const stoppedCalls = 40
const helloCalls = 500
const warmSeconds = 3

interface Measured {
  /** By connections and part. */
  readonly dispatch: Readonly<Record<string, readonly Bucket[]>>
  readonly helloMicros: readonly number[]
  /** From the request to its 504. */
  readonly stoppedMicros: readonly number[]
}

export const overhead: Scenario = {
  name: 'overhead',
  about:
    'time from request to guest and from guest to response; how late a looping guest is stopped',
  async run(bench) {
    const edgefn = await Edgefn.serving({ workers: 1 }, [
      { name: 'hello', module: guestPath('hello-c') },
      {
        name: 'looping',
        module: guestPath('misbehave-c'),
        flags: ['--max-execution-ms', `${LIMIT_MS}`],
      },
    ])
    try {
      return reportOf(await measure(edgefn, bench))
    } finally {
      await edgefn.stop()
    }
  },
}

async function measure(edgefn: Edgefn, { settings, say }: Bench): Promise<Measured> {
  const url = `${edgefn.url}/hello/x`
  await runWrk({ url, connections: 64, seconds: warmSeconds })
  const dispatch: Record<string, readonly Bucket[]> = {}
  for (const connections of [8, 64]) {
    say(`dispatch of hello, c=${connections}`)
    const before = await histograms(edgefn)
    for (let round = 0; round < settings.rounds; round++) {
      const report = await runWrk({ url, connections, seconds: settings.seconds })
      if (report.badAnswers + report.socketErrors > 0) throw new Error('hello failed.')
    }
    const after = await histograms(edgefn)
    for (const part of PARTS) {
      dispatch[`c=${connections} ${part}`] = bucketsBetween(before[part], after[part])
    }
  }
  say(`${stoppedCalls} calls that loop`)
  const client = await LatencyClient.connect(edgefn.url)
  const helloMicros = await timesOf(client, '/hello/x', helloCalls, 200)
  const stoppedMicros: number[] = []
  for (let call = 0; call < stoppedCalls; call++) {
    // The call before took its instance with it, and making another is not what is measured.
    await timesOf(client, '/looping/echo', 2, 200)
    stoppedMicros.push(...(await timesOf(client, '/looping/loop', 1, 504)))
  }
  client.close()
  return { dispatch, helloMicros, stoppedMicros }
}

async function histograms({ node }: Edgefn): Promise<Record<(typeof PARTS)[number], Bucket[]>> {
  const text = await (await fetch(`${node.ops}/metrics`)).text()
  const of = (part: string) => parseHistogram(text, METRIC, `part="${part}"`)
  return { enter: of('enter'), leave: of('leave') }
}

async function timesOf(
  client: LatencyClient,
  path: string,
  calls: number,
  wanted: number,
): Promise<number[]> {
  const micros: number[] = []
  for (let call = 0; call < calls; call++) {
    const answer = await client.get(path)
    if (answer.status !== wanted) throw new Error(`${path}: ${answer.status} ${answer.body}`)
    micros.push(answer.micros)
  }
  return micros
}

function reportOf({ dispatch, helloMicros, stoppedMicros }: Measured): ScenarioResult {
  const micros = (name: string, share: number) =>
    histogramQuantile(dispatch[name] ?? [], share) * 1e6
  const hello = median(helloMicros)
  const late = stoppedMicros.map((each) => each - LIMIT_MS * 1000 - hello)
  const dispatchTable: Table = {
    title: "dispatch of hello, by the node's own histogram, µs",
    head: ['connections and part', 'requests', 'p50', 'p99'],
    rows: Object.entries(dispatch).map(([name, buckets]) => [
      name,
      String(countOf(buckets)),
      figure(micros(name, 0.5)),
      figure(micros(name, 0.99)),
    ]),
  }
  const stopTable: Table = {
    title: `504 of a looping guest, limit ${LIMIT_MS} ms: µs after its deadline, less a hello (${figure(hello)} µs)`,
    head: ['compiled', 'calls', 'p50', 'p99', 'max'],
    rows: [
      [
        'looping',
        String(late.length),
        ...[0.5, 0.99, 1].map((share) => figure(quantile(late, share))),
      ],
    ],
  }
  // The parts are counted apart, not as pairs: their figures are added.
  const both = (share: number) =>
    PARTS.reduce((sum, part) => sum + micros(`c=64 ${part}`, share), 0)
  const goals = [
    atMost(3, 'overhead: dispatch, enter and leave, c=64: p50', both(0.5), 'µs'),
    atMost(20, 'overhead: dispatch, enter and leave, c=64: p99', both(0.99), 'µs'),
  ]
  return {
    tables: [dispatchTable, stopTable],
    goals: [
      ...goals,
      atMost(
        2,
        'overhead: 504 after the deadline, compiled, p99',
        quantile(late, 0.99) / 1000,
        'ms',
      ),
    ],
    notes: ['Within a bucket of the histogram values are taken to lie evenly.'],
    raw: { dispatch, helloMicros, stoppedMicros },
  }
}
