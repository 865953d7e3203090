/** Servers under load in turns, A B C A B C, so that a machine whose speed drifts wrongs none of them. */

import { processorMicros, processTree, residentBytes } from './processes.ts'
import type { Server } from './servers/server.ts'
import { median, pairedRatio, spread, type Spread } from './statistics.ts'
import { runWrk } from './wrk.ts'

/** Seconds of load that each server gets before it is measured, so that what it compiles is compiled, unless more is asked for. */
const warmSecondsDefault = 2

export interface Load {
  /** `c=64`. */
  readonly name: string
  readonly connections: number
  /** With its slash. */
  readonly path: string
  readonly script?: string
}

export interface Contestant {
  readonly server: Server
  /** Where the server has a path or a script of its own for the same work. */
  readonly path?: string
  readonly script?: string
}

export interface Sample {
  readonly load: string
  readonly round: number
  readonly server: string
  readonly requestsPerSecond: number
  readonly p50Micros: number
  readonly p99Micros: number
  readonly maxMicros: number
  /** Microseconds of processor time per request, of all processes of the server and of its workers alone. */
  readonly cpuMicros: number
  readonly workerCpuMicros: number | null
  readonly rssBytes: number
  readonly workerRssBytes: number | null
  readonly errors: number
}

export interface Times {
  readonly rounds: number
  readonly seconds: number
  readonly warmSeconds?: number
}

/** Warms every contestant, then measures all of them with each load in every round. */
export async function measureRounds(
  contestants: readonly Contestant[],
  loads: readonly Load[],
  { rounds, seconds, warmSeconds = warmSecondsDefault }: Times,
): Promise<Sample[]> {
  const [first] = loads
  if (first === undefined) return []
  for (const contestant of contestants) await sample(contestant, first, -1, warmSeconds)
  const samples: Sample[] = []
  for (let round = 0; round < rounds; round++) {
    for (const load of loads) {
      for (const contestant of contestants) {
        samples.push(await sample(contestant, load, round, seconds))
      }
    }
  }
  return samples
}

async function sample(
  { server, path, script }: Contestant,
  load: Load,
  round: number,
  seconds: number,
): Promise<Sample> {
  const all = processTree(server.pids)
  const workers = server.workers?.() ?? null
  const before = processorMicros(all)
  const workersBefore = workers === null ? 0 : processorMicros(workers)
  const lua = script ?? load.script
  const report = await runWrk({
    url: `${server.url}${path ?? load.path}`,
    connections: load.connections,
    seconds,
    ...(lua === undefined ? {} : { script: lua }),
  })
  const used = processorMicros(processTree(server.pids)) - before
  const usedByWorkers = workers === null ? null : processorMicros(workers) - workersBefore
  return {
    load: load.name,
    round,
    server: server.name,
    requestsPerSecond: report.requestsPerSecond,
    p50Micros: report.p50Micros,
    p99Micros: report.p99Micros,
    maxMicros: report.maxMicros,
    cpuMicros: used / report.requests,
    workerCpuMicros: usedByWorkers === null ? null : usedByWorkers / report.requests,
    rssBytes: residentBytes(processTree(server.pids)),
    workerRssBytes: workers === null ? null : residentBytes(workers),
    errors: report.badAnswers + report.socketErrors,
  }
}

/** What one server came to under one load. */
export interface Summary {
  readonly server: string
  readonly requestsPerSecond: Spread
  /** Against the reference, round by round. */
  readonly rateRatio: number
  readonly cpuMicros: number
  readonly cpuRatio: number
  readonly workerCpuMicros: number | null
  readonly workerCpuRatio: number | null
  readonly p50Micros: number
  readonly p99Micros: number
  readonly rssBytes: number
  readonly workerRssBytes: number | null
  readonly errors: number
}

/** All servers under one load, in the order of their first samples, against the reference. */
export function summarise(samples: readonly Sample[], load: string, reference: string): Summary[] {
  const ofLoad = samples.filter((each) => each.load === load)
  const base = ofLoad.filter((each) => each.server === reference)
  const names = [...new Set(ofLoad.map(({ server }) => server))]
  return names.map((server) => summaryOf(server, ofLoad, base))
}

function summaryOf(server: string, ofLoad: readonly Sample[], base: readonly Sample[]): Summary {
  const own = ofLoad.filter((each) => each.server === server)
  const middle = (pick: (each: Sample) => number) => median(own.map(pick))
  const perWorker = own.some(({ workerCpuMicros }) => workerCpuMicros !== null)
  const against = (pick: (each: Sample) => number, ofBase = pick) =>
    pairedRatio(own.map(pick), base.map(ofBase))
  const workerCpu = (each: Sample) => each.workerCpuMicros ?? Number.NaN
  return {
    server,
    requestsPerSecond: spread(own.map((each) => each.requestsPerSecond)),
    rateRatio: against((each) => each.requestsPerSecond),
    cpuMicros: middle((each) => each.cpuMicros),
    cpuRatio: against((each) => each.cpuMicros),
    workerCpuMicros: perWorker ? middle(workerCpu) : null,
    workerCpuRatio: perWorker ? against(workerCpu, (each) => each.cpuMicros) : null,
    p50Micros: middle((each) => each.p50Micros),
    p99Micros: middle((each) => each.p99Micros),
    rssBytes: middle((each) => each.rssBytes),
    workerRssBytes: perWorker ? middle((each) => each.workerRssBytes ?? Number.NaN) : null,
    errors: own.reduce((sum, each) => sum + each.errors, 0),
  }
}

/** The median over rounds of how many times as much one server answers as another. */
export function rateRatio(
  samples: readonly Sample[],
  load: string,
  server: string,
  reference: string,
): number {
  const rates = (name: string) =>
    samples
      .filter((each) => each.load === load && each.server === name)
      .map((each) => each.requestsPerSecond)
  return pairedRatio(rates(server), rates(reference))
}
