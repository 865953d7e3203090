/** A function that answers at once beside one that burns its time limit on all processors. */

import { availableParallelism } from 'node:os'

import { atMost } from '../goals.ts'
import { LatencyClient } from '../latency-client.ts'
import { runPaced, type PacedReport } from '../paced-load.ts'
import { guestPath } from '../scenario.ts'
import type { Bench, Scenario, ScenarioResult } from '../scenario.ts'
import { Edgefn } from '../servers/edgefn.ts'
import { median, quantile } from '../statistics.ts'
import { figure, type Table } from '../table.ts'

const LIMIT_MS = 500
const CORES = availableParallelism()
const HELLO = {
  path: '/hello/x',
  expected: 'Hello, edge!\n',
  connections: 8,
  requestsPerSecond: 400,
}
/** A burner's call takes half a second: a round must see several. */
const secondsMin = 4

interface Round {
  readonly alone: PacedReport
  readonly beside: PacedReport
  /** Answers that the burners got. */
  readonly burnt: Readonly<Record<string, number>>
}

export const mixed: Scenario = {
  name: 'mixed',
  about: 'hello at a steady rate, alone and beside a function that burns its 500 ms on every core',
  async run(bench) {
    const limit = ['--max-execution-ms', String(LIMIT_MS)]
    const edgefn = await Edgefn.serving({ workers: CORES }, [
      { name: 'hello', module: guestPath('hello-c') },
      { name: 'burner', module: guestPath('misbehave-c'), flags: limit },
    ])
    try {
      const rounds = await measure(edgefn, bench)
      return reportOf(rounds)
    } finally {
      await edgefn.stop()
    }
  },
}

async function measure(edgefn: Edgefn, { settings, say }: Bench): Promise<Round[]> {
  const seconds = Math.max(settings.seconds, secondsMin)
  const hello = { ...HELLO, url: edgefn.url, seconds }
  await runPaced({ ...hello, seconds: 2 })
  const rounds: Round[] = []
  for (let round = 0; round < settings.rounds; round++) {
    say(`round ${round + 1} of ${settings.rounds}, ${seconds} s alone and ${seconds} s beside`)
    const alone = await runPaced(hello)
    const burners = startBurners(edgefn)
    // Until they burn.
    await Bun.sleep(LIMIT_MS / 2)
    const beside = await runPaced(hello)
    rounds.push({ alone, beside, burnt: await burners.stop() })
  }
  return rounds
}

/** As many connections as there are cores, each asking again as soon as it was answered. */
function startBurners(edgefn: Edgefn): { stop(): Promise<Record<string, number>> } {
  const burnt: Record<string, number> = {}
  let running = true
  async function burn(): Promise<void> {
    const client = await LatencyClient.connect(edgefn.url)
    while (running) {
      const { status } = await client.get('/burner/loop')
      burnt[status] = (burnt[status] ?? 0) + 1
    }
    client.close()
  }
  const done = Promise.all(Array.from({ length: CORES }, burn))
  return {
    async stop() {
      running = false
      await done
      return burnt
    },
  }
}

function reportOf(rounds: readonly Round[]): ScenarioResult {
  const p99 = (report: PacedReport) => quantile(report.micros, 0.99) / 1000
  const row = (name: string, reports: readonly PacedReport[]) => {
    const middle = (share: number) =>
      figure(median(reports.map(({ micros }) => quantile(micros, share) / 1000)))
    const errors = reports.reduce((sum, report) => sum + report.errors.length, 0)
    const worst = Math.max(...reports.map((report) => p99(report)))
    const most = Math.max(...reports.map(({ micros }) => quantile(micros, 1) / 1000))
    return [
      name,
      middle(0.5),
      middle(0.99),
      figure(worst),
      figure(most),
      errors === 0 ? '0' : `${errors} ERRORS`,
    ]
  }
  const beside = rounds.map((round) => round.beside)
  const table: Table = {
    title: `hello at ${HELLO.requestsPerSecond} requests/s on ${HELLO.connections} connections, ${CORES} workers; ms`,
    head: ['hello', 'p50', 'p99', 'worst p99', 'max', 'errors'],
    rows: [
      row(
        'alone',
        rounds.map(({ alone }) => alone),
      ),
      row('beside burners', beside),
    ],
  }
  const errors = beside.flatMap((report) => report.errors)
  const burnt = rounds.map((round) => JSON.stringify(round.burnt)).join(' ')
  return {
    tables: [table],
    goals: [
      atMost(10, 'mixed: p99 of hello beside burners', median(beside.map(p99)), 'ms'),
      atMost(0, 'mixed: errors of hello beside burners', errors.length),
    ],
    notes: [
      `The burners got, round by round: ${burnt}.`,
      ...(errors.length > 0 ? [`The first errors: ${errors.slice(0, 3).join('; ')}`] : []),
    ],
    raw: rounds,
  }
}
