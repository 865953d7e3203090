/** Runs a control plane and a node under mixed load for a while, and tells what grew, what failed and whether the counts agree. */

import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { ControlPlane, GUESTS, Node, World } from '../test/e2e/harness.ts'
import { pick, randomOf } from '../test/fuzz/random.ts'
import { MixedLoad } from '../test/soak/load.ts'
import type { LoadedFunction } from '../test/soak/load.ts'
import { ProcessRecord } from '../test/soak/processes.ts'
import { vitalSigns } from '../test/e2e/vital-signs.ts'

const USAGE = 'Usage: scripts/soak [--seconds N] [--clients N] [--kills N] [--seed N]'

/** Functions that behave, and their guests. */
const GOOD: readonly (readonly [string, string, readonly string[]])[] = [
  ['hello-c', 'hello-c', ['/', '/a?b=c']],
  ['hello-rust', 'hello-rust', ['/']],
  ['hello-as', 'hello-as', ['/']],
  ['echo-c', 'echo-c', ['/', '/deep/er?x=1']],
  ['echo-rust', 'echo-rust', ['/', '/%20']],
  ['echo-as', 'echo-as', ['/']],
  ['wagi-hello', 'wagi-hello-c', ['/']],
  ['wagi-echo', 'wagi-echo-rust', ['/', '/info?q']],
]
const BAD: readonly (readonly [string, string, readonly string[]])[] = [
  [
    'bad',
    'misbehave-c',
    ['/loop', '/trap', '/alloc', '/negative', '/crlf', '/write100m', '/recurse-deep', '/'],
  ],
  ['wagi-bad', 'wagi-misbehave-c', ['/loop', '/trap', '/exit/3', '/write100m', '/status/418', '/']],
]
/** So long that a busy machine makes none of the good ones late. */
const GOOD_LIMIT = ['--max-execution-ms', '5000']
const badLimitMs = '100'

const sampleEveryMs = 5_000
const printEveryMs = 30_000
/** Workers are killed and functions deployed again in the first part; growth is measured in the rest. */
const disturbedShare = 0.4
/** Open files that a process may have gained in the measured part: connections come and go. */
const filesGainMax = 30

interface Settings {
  readonly seconds: number
  readonly clients: number
  readonly kills: number
  readonly seed: number
}

function settings(): Settings {
  try {
    const number = (value: string) => {
      const parsed = Number(value)
      if (!Number.isSafeInteger(parsed) || parsed < 0) throw new Error(value)
      return parsed
    }
    const text = (fallback: number) => ({ type: 'string' as const, default: String(fallback) })
    // Three deaths while a function runs put it into quarantine, so the default stays below.
    const options = { seconds: text(600), clients: text(12), kills: text(2), seed: text(1) }
    const { values } = parseArgs({ options })
    return {
      seconds: number(values.seconds),
      clients: number(values.clients),
      kills: number(values.kills),
      seed: number(values.seed),
    }
  } catch {
    console.error(USAGE)
    process.exit(2)
  }
}

/** One run: the processes, their load, their records. */
class Soak {
  readonly #settings: Settings
  readonly #random: () => number
  readonly #world = new World()
  readonly #records = new Map<number, ProcessRecord>()
  readonly #problems: string[] = []
  #kills = 0
  #deploys = 0

  constructor(given: Settings) {
    this.#settings = given
    this.#random = randomOf(given.seed)
  }

  /** The exit code. */
  async run(): Promise<number> {
    try {
      const plane = await (await ControlPlane.create(this.#world)).start()
      const id = `soak-${process.pid}`
      const node = await (await Node.create(this.#world, plane, { id, pop: 'soak-1' })).start()
      const functions = await this.#deployAll(plane)
      const load = new MixedLoad(node, functions, this.#settings.clients, this.#random)
      await this.#watch(plane, node)
      await load.stop()
      await this.#report(node, functions, load)
      return this.#problems.length === 0 ? 0 : 1
    } finally {
      await this.#world.close()
    }
  }

  async #deployAll(plane: ControlPlane): Promise<LoadedFunction[]> {
    for (const [name, guest] of GOOD) await deploy(plane, name, guest, ...GOOD_LIMIT)
    for (const [name, guest] of BAD)
      await deploy(plane, name, guest, '--max-execution-ms', badLimitMs)
    return [
      ...GOOD.map(([name, , paths]) => ({ name, paths, statuses: [200] })),
      ...BAD.map(([name, , paths]) => ({ name, paths, statuses: null })),
    ]
  }

  async #watch(plane: ControlPlane, node: Node): Promise<void> {
    const { seconds, kills } = this.#settings
    const startedAt = performance.now()
    const elapsed = () => (performance.now() - startedAt) / 1000
    let nextPrint = 0
    const disturbances = kills * 2
    for (let done = 0; elapsed() < seconds;) {
      this.#sample(plane, node, elapsed())
      if (elapsed() * 1000 >= nextPrint) {
        this.#print(elapsed())
        nextPrint += printEveryMs
      }
      const due = ((done + 1) / (disturbances + 1)) * seconds * disturbedShare
      if (done < disturbances && elapsed() >= due) {
        await this.#disturb(plane, node, done)
        done += 1
      }
      await Bun.sleep(Math.min(sampleEveryMs, Math.max(seconds - elapsed(), 0) * 1000))
    }
    this.#sample(plane, node, elapsed())
    this.#print(elapsed())
  }

  /** By turns a worker is killed and a function deployed again, both under load. */
  async #disturb(plane: ControlPlane, node: Node, turn: number): Promise<void> {
    if (turn % 2 === 0) {
      const pid = pick(this.#random, node.workers())
      process.kill(pid, 'SIGKILL')
      this.#kills += 1
      console.log(`killed worker ${pid}`)
      return
    }
    const [name, guest] = pick(this.#random, GOOD)
    await deploy(plane, name, guest, ...GOOD_LIMIT)
    this.#deploys += 1
    console.log(`deployed ${name} again`)
  }

  #sample(plane: ControlPlane, node: Node, seconds: number): void {
    const processes: (readonly [string, number])[] = [
      ['control plane', plane.pid],
      ['agent', node.pid],
      ...node.workers().map((pid) => ['worker', pid] as const),
    ]
    for (const [role, pid] of processes) {
      const record = this.#records.get(pid) ?? new ProcessRecord(role, pid)
      this.#records.set(pid, record)
      record.take(seconds)
    }
  }

  #print(seconds: number): void {
    const shown = [...this.#records.values()].flatMap(({ role, pid, samples }) => {
      const last = samples.at(-1)
      if (last === undefined || last.seconds < seconds - 2 * (sampleEveryMs / 1000)) return []
      return [`${role} ${pid}: ${mebibytes(last.rss_bytes)} MiB ${last.files} files`]
    })
    console.log(`${seconds.toFixed(0).padStart(5)} s  ${shown.join('; ')}`)
  }

  async #report(node: Node, functions: readonly LoadedFunction[], load: MixedLoad): Promise<void> {
    this.#reportGrowth()
    await this.#reportCounts(node, functions, load)
    const { restarts, deaths } = await vitalSigns(node)
    for (const death of deaths) console.log(`  ${death.slice(0, 300)}`)
    console.log(
      `worker restarts: ${restarts}, kills: ${this.#kills}, deployments: ${this.#deploys}`,
    )
    if (restarts > this.#kills) this.#problems.push(`${restarts} restarts for ${this.#kills} kills`)
    console.log(`problems: ${this.#problems.length}`)
    for (const problem of this.#problems) console.log(`  ${problem}`)
  }

  #reportGrowth(): void {
    const from = this.#settings.seconds * disturbedShare
    console.log(`growth from second ${from.toFixed(0)} on, by least squares:`)
    for (const record of this.#records.values()) {
      const slopes = record.slopes(from)
      const late = record.samples.filter(({ seconds }) => seconds >= from)
      const [first, last] = [late.at(0), late.at(-1)]
      if (slopes === null || first === undefined || last === undefined) continue
      console.log(
        `  ${record.role} ${record.pid}: RSS ${signed(slopes.rss)} %/h (${mebibytes(first.rss_bytes)} to ${mebibytes(last.rss_bytes)} MiB), ` +
          `files ${signed(slopes.files)} %/h (${first.files} to ${last.files})`,
      )
      if (last.files - first.files > filesGainMax) {
        this.#problems.push(
          `${record.role} ${record.pid} gained ${last.files - first.files} open files`,
        )
      }
    }
  }

  /** Every answer must have been counted once; a request that was lost with its worker may have been or not. */
  async #reportCounts(
    node: Node,
    functions: readonly LoadedFunction[],
    load: MixedLoad,
  ): Promise<void> {
    let answered = 0
    let lost = 0
    for (const { name } of functions) {
      const tally = load.tallies.get(name)
      if (tally === undefined) continue
      answered += tally.answered
      lost += tally.lost
      const statuses = [...tally.statuses].sort(([a], [b]) => a - b)
      console.log(
        `  ${name}: ${statuses.map(([status, count]) => `${count} × ${status}`).join(', ')}, lost ${tally.lost}; ` +
          `p50 ${tally.latencyMs(0.5).toFixed(1)} ms, p99 ${tally.latencyMs(0.99).toFixed(1)} ms`,
      )
      for (const wrong of tally.wrong) this.#problems.push(`${name} answered ${wrong}`)
      const untold = tally.wrongCount - tally.wrong.length
      if (untold > 0) this.#problems.push(`${name} gave ${untold} more wrong answers`)
    }
    const counted = await node.metric('edgefn_http_requests_total')
    console.log(
      `requests: clients had ${answered} answers and lost ${lost}; the node counted ${counted}`,
    )
    if (counted < answered || counted > answered + lost)
      this.#problems.push('the counts do not agree')
    const lostMax = this.#kills * this.#settings.clients
    if (lost > lostMax) this.#problems.push(`${lost} requests were lost to ${this.#kills} kills`)
  }
}

async function deploy(plane: ControlPlane, name: string, guest: string, ...flags: string[]) {
  const file = join(GUESTS, `${guest}.wasm`)
  await plane.run('deploy', file, '--force', '--name', name, '--route', `/${name}/*`, ...flags)
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0)
}

function signed(value: number): string {
  return `${value >= 0 ? '+' : ''}${value.toFixed(1)}`
}

const given = settings()
console.log(
  `soak of ${given.seconds} s, ${given.clients} clients, ${given.kills} kills, seed ${given.seed}`,
)
process.exit(await new Soak(given).run())
