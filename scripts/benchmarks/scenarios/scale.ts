/** Many functions and many routes: what each costs, and what they cost the traffic. */

import { readFileSync } from 'node:fs'

import { atLeast, atMost } from '../goals.ts'
import { memoryShares, type MemoryShares } from '../guest-memory.ts'
import { deployMany } from '../many-functions.ts'
import { addRoutes } from '../many-routes.ts'
import { measureRounds, rateRatio, type Contestant, type Load, type Sample } from '../rounds.ts'
import { roundsTable } from '../rounds-table.ts'
import { assertAnswers, guestPath } from '../scenario.ts'
import type { Bench, Scenario, ScenarioResult } from '../scenario.ts'
import { Edgefn } from '../servers/edgefn.ts'
import { figure, mebibytes, type Table } from '../table.ts'
import { writeZipfScript } from '../zipf.ts'

const ANSWER = 'Hello, edge!\n'
const LOAD: Load = { name: 'zipf, c=64', connections: 64, path: '/f/0' }
const ROUTES_LOAD: Load = { name: 'routes, c=64', connections: 64, path: '/r/0' }
const someFunctions = 100
/** Functions from which to all of them memory is measured: what a worker takes at first is behind it. */
const fewFunctions = 500
const manyRoutes = 100_000
/** Paths of the many that the traffic asks for. */
const routesAskedFor = 10_000
/** Seconds of load before measuring: each of many functions must have shown that it is fast. */
const warmSeconds = 8
/** Functions brought into service and compiled in this time at most. */
const setupMsMax = 300_000

interface Memory {
  readonly name: string
  readonly shares: MemoryShares
}

interface Measured {
  readonly samples: readonly Sample[]
  readonly memory: readonly Memory[]
  readonly functions: number
  readonly setupSeconds: number
}

export const scale: Scenario = {
  name: 'scale',
  about: 'one function, 100 and 10 000; one route and 100 000',
  async run(bench) {
    const running: Edgefn[] = []
    const startNode = async (name: string) => {
      const flags = ['--cache-files', '20000']
      const edgefn = await Edgefn.start({ workers: 1, name, flags })
      running.push(edgefn)
      return edgefn
    }
    try {
      return reportOf(await measure(bench, startNode))
    } finally {
      for (const edgefn of running.toReversed()) await edgefn.stop()
    }
  },
}

type StartNode = (name: string) => Promise<Edgefn>

async function measure({ settings, dir, say }: Bench, startNode: StartNode): Promise<Measured> {
  const { functions } = settings
  const startedAt = performance.now()
  const memory: Memory[] = []
  const one = await startNode('1 function')
  const some = await startNode(`${someFunctions} functions`)
  const many = await startNode(`${functions} functions`)
  await addFunctions(one, 0, 1)
  memory.push(memoryOf(one, '1 function'))
  await addFunctions(some, 0, someFunctions)
  // Most of the time goes into the control planes, which are two.
  const withRoutes = startWithRoutes(startNode)
  withRoutes.catch(() => undefined)
  let deployed = 0
  for (const count of [Math.min(fewFunctions, functions), functions]) {
    say(`deploying functions ${deployed} to ${count}`)
    await addFunctions(many, deployed, count)
    deployed = count
    memory.push(memoryOf(many, `${count} functions`))
  }
  const routes = await withRoutes
  const setupSeconds = (performance.now() - startedAt) / 1000
  say(`in service after ${setupSeconds.toFixed(0)} s; ${settings.rounds} rounds`)
  const zipf = (name: string, prefix: string, count: number) =>
    writeZipfScript(dir, name, prefix, count)
  const contestants: Contestant[] = [
    { server: one, script: zipf('one', '/f/', 1) },
    { server: some, script: zipf('some', '/f/', someFunctions) },
    { server: many, script: zipf('many', '/f/', functions) },
  ]
  const script = zipf('routes', '/r/', routesAskedFor)
  const routed = routes.map((server) => ({ server, script }))
  for (const { server } of contestants) await assertAnswers(server, LOAD.path, ANSWER)
  for (const { server } of routed) await assertAnswers(server, '/r/9999', ANSWER)
  const samples = await measureRounds(contestants, [LOAD], { ...settings, warmSeconds })
  samples.push(...(await measureRounds(routed, [ROUTES_LOAD], settings)))
  return { samples, memory, functions, setupSeconds }
}

async function addFunctions(edgefn: Edgefn, from: number, to: number): Promise<void> {
  const module = new Uint8Array(readFileSync(guestPath('hello-c')))
  const path = (index: number) => `/f/${index}`
  await deployMany(edgefn, { from, to, prefix: 'f', module: () => module, path })
  await edgefn.compiled(to, setupMsMax)
}

/** The same function behind one route for all paths, and behind a route for each. */
async function startWithRoutes(startNode: StartNode): Promise<Edgefn[]> {
  const deployment = { name: 'r', module: guestPath('hello-c') }
  const single = await startNode('1 route')
  await single.deploy(deployment)
  await single.compiled(1)
  const many = await startNode(`${manyRoutes} routes`)
  await many.deploy(deployment)
  await addRoutes(many.plane, deployment.name, manyRoutes, (index) => `/r/${index}`)
  await many.replaceNode([])
  await many.compiled(1)
  return [single, many]
}

function memoryOf(edgefn: Edgefn, name: string): Memory {
  const [worker] = edgefn.workers()
  if (worker === undefined) throw new Error('There is no worker.')
  return { name, shares: memoryShares(worker) }
}

function reportOf({ samples, memory, functions, setupSeconds }: Measured): ScenarioResult {
  const [, few, all] = memory
  const perInstance =
    few === undefined || all === undefined || few.shares.memories === all.shares.memories
      ? null
      : costOf(few.shares, all.shares)
  const many = rateRatio(samples, LOAD.name, `${functions} functions`, '1 function')
  const routes = rateRatio(samples, ROUTES_LOAD.name, `${manyRoutes} routes`, '1 route')
  const kibibytes = perInstance === null ? null : perInstance.ownBytes / 1024
  const count = functions.toLocaleString('en')
  return {
    tables: [
      roundsTable(samples, LOAD.name, '1 function', 'functions, zipf traffic, c=64'),
      roundsTable(
        samples,
        ROUTES_LOAD.name,
        '1 route',
        'routes of one function, zipf traffic, c=64',
      ),
      memoryTable(memory),
    ],
    goals: [
      atLeast(0.85, `scale: ${count} functions under zipf traffic × one function`, many),
      atMost(
        16,
        'scale: memory of a warm instance besides the pages it has touched',
        kibibytes,
        'KiB',
      ),
      atLeast(0.97, `scale: ${manyRoutes.toLocaleString('en')} routes × one route`, routes),
    ],
    notes: [
      `Setting up took ${setupSeconds.toFixed(0)} s.`,
      ...(perInstance === null
        ? []
        : [
            `A function with its warm instance: ${kib(perInstance.residentBytes)} KiB resident, of which it has touched ` +
              `${kib(perInstance.touchedBytes)} KiB of its memory; besides, ${kib(perInstance.pageTableBytes)} KiB of page tables in the kernel.`,
          ]),
    ],
    raw: { samples, memory, setupSeconds },
  }
}

function kib(bytes: number): string {
  return figure(bytes / 1024)
}

interface InstanceCost {
  readonly residentBytes: number
  readonly touchedBytes: number
  readonly ownBytes: number
  readonly pageTableBytes: number
}

/** What one more function with a warm instance adds to a worker. */
function costOf(before: MemoryShares, after: MemoryShares): InstanceCost {
  const each = (pick: (shares: MemoryShares) => number) =>
    (pick(after) - pick(before)) / (after.memories - before.memories)
  const residentBytes = each((shares) => shares.residentBytes)
  const touchedBytes = each((shares) => shares.touchedBytes)
  return {
    residentBytes,
    touchedBytes,
    ownBytes: residentBytes - touchedBytes,
    pageTableBytes: each((shares) => shares.pageTableBytes),
  }
}

function memoryTable(memory: readonly Memory[]): Table {
  return {
    title: 'a worker before any traffic',
    head: ['functions', 'warm instances', 'RSS MiB', 'touched by guests MiB', 'page tables MiB'],
    rows: memory.map(({ name, shares }) => [
      name,
      String(shares.memories),
      mebibytes(shares.residentBytes),
      mebibytes(shares.touchedBytes),
      mebibytes(shares.pageTableBytes),
    ]),
  }
}
