/** The first request to functions that have never been called: cached and compiled, cached and interpreted, not cached. */

import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import { atMost } from '../goals.ts'
import { LatencyClient } from '../latency-client.ts'
import { deployMany } from '../many-functions.ts'
import { guestPath } from '../scenario.ts'
import type { Bench, Scenario, ScenarioResult } from '../scenario.ts'
import { Edgefn } from '../servers/edgefn.ts'
import { quantile } from '../statistics.ts'
import { figure, type Table } from '../table.ts'

/** So little that a warm instance of one function is given up for the next, and nearly every call is a cold one. */
const FLAGS = ['--pool-memory', '1MiB', '--cache-files', '10000']
const smallFunctions = 1000
/** Of 150 KiB compiled. */
const largeFunctions = 200
const fetchedFunctions = 200
const warmCalls = 500
/** Functions brought into service, compiled or fetched, in this time at most. */
const setupMsMax = 150_000

interface Group {
  readonly name: string
  readonly prefix: string
  readonly guest: string
  readonly count: number
}
const SMALL: Group = { name: 'small', prefix: 's', guest: 'hello-c', count: smallFunctions }
const LARGE: Group = { name: '150 KiB', prefix: 'l', guest: 'echo-rust', count: largeFunctions }

interface Case {
  readonly name: string
  readonly calls: number
  /** How many of them found no instance, by the node's own count. */
  readonly cold: number
  readonly micros: readonly number[]
}

export const cold: Scenario = {
  name: 'cold',
  about:
    'the first request to a function: compiled, interpreted, and with its artifact to be fetched',
  async run(bench) {
    const edgefn = await Edgefn.start({ workers: 1, flags: FLAGS })
    try {
      return reportOf(await measure(edgefn, bench))
    } finally {
      await edgefn.stop()
    }
  },
}

async function measure(edgefn: Edgefn, { say }: Bench): Promise<Case[]> {
  const all = SMALL.count + LARGE.count
  const cases: Case[] = []
  say(`deploying ${all} functions`)
  for (const { prefix, guest, count } of [SMALL, LARGE]) {
    const module = new Uint8Array(readFileSync(guestPath(guest)))
    const path = (index: number) => `/${prefix}/${index}`
    await deployMany(edgefn, { from: 0, to: count, prefix, module: () => module, path })
  }
  await edgefn.compiled(all, setupMsMax)
  say('first calls, compiled')
  for (const group of [SMALL, LARGE]) cases.push(await firstCalls(edgefn, group, 'compiled'))
  cases.push(await warmCallsOf(edgefn, SMALL))

  say('another node, interpreted')
  await edgefn.replaceNode([...FLAGS, '--compile', 'off'])
  await edgefn.inService(all, setupMsMax)
  for (const group of [SMALL, LARGE]) cases.push(await firstCalls(edgefn, group, 'interpreted'))

  say('the same node without its artifacts')
  await edgefn.node.stop('SIGTERM')
  emptyCache(join(edgefn.node.dataDir, 'cache'))
  await edgefn.node.start()
  await edgefn.inService(all, setupMsMax)
  const fetched = { ...SMALL, count: fetchedFunctions }
  cases.push(await firstCalls(edgefn, fetched, 'artifact to be fetched'))
  return cases
}

/** As if the disk of the cache had been lost. */
function emptyCache(dir: string): void {
  const functions = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  if (functions.length === 0) throw new Error(`There are no artifacts in ${dir}.`)
  for (const { name } of functions) rmSync(join(dir, name), { recursive: true })
}

async function firstCalls(edgefn: Edgefn, group: Group, how: string): Promise<Case> {
  const coldStarts = () => edgefn.node.metric('edgefn_cold_starts_total')
  const before = await coldStarts()
  const paths = Array.from({ length: group.count }, (_, index) => `/${group.prefix}/${index}`)
  const micros = await callEach(edgefn, paths)
  const name = `${group.name}, ${how}`
  return { name, calls: paths.length, cold: (await coldStarts()) - before, micros }
}

async function warmCallsOf(edgefn: Edgefn, { name, prefix }: Group): Promise<Case> {
  const paths = Array<string>(warmCalls).fill(`/${prefix}/0`)
  const micros = await callEach(edgefn, paths)
  return { name: `${name}, warm, for comparison`, calls: warmCalls, cold: 0, micros }
}

async function callEach(edgefn: Edgefn, paths: readonly string[]): Promise<number[]> {
  const client = await LatencyClient.connect(edgefn.url)
  // The connection and the client's own code are not what is measured.
  for (let call = 0; call < 100; call++) await client.get('/nothing/here')
  const micros: number[] = []
  for (const path of paths) {
    const answer = await client.get(path)
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${answer.body}`)
    micros.push(answer.micros)
  }
  client.close()
  return micros
}

function reportOf(cases: readonly Case[]): ScenarioResult {
  const warm = quantile(cases.find(({ name }) => name.includes('warm'))?.micros ?? [], 0.5)
  const p99 = (name: string) =>
    quantile(cases.find((each) => each.name === name)?.micros ?? [], 0.99)
  const table: Table = {
    title: 'first requests one after the other, as the client sees them',
    head: ['case', 'calls', 'cold', 'p50 µs', 'p99 µs', 'max µs', 'p50 over warm', 'p99 over warm'],
    rows: cases.map(({ name, calls, cold: without, micros }) => [
      name,
      String(calls),
      String(without),
      ...[0.5, 0.99, 1].map((share) => figure(quantile(micros, share))),
      ...[0.5, 0.99].map((share) => figure(quantile(micros, share) - warm)),
    ]),
  }
  return {
    tables: [table],
    goals: [
      atMost(
        1000,
        'cold start, 150 KiB compiled: p99 of the first request',
        p99('150 KiB, compiled'),
        'µs',
      ),
      atMost(
        150,
        'cold start, small, compiled: p99 over a warm request',
        p99('small, compiled') - warm,
        'µs',
      ),
    ],
    notes: [
      'cold: calls that found no instance, by the node; each also gives up the instance of another function, because the pool is kept small.',
    ],
    raw: cases,
  }
}
