/** Many functions and routes: what the control plane takes to start and to plan, how large a difference is, and what it costs a node. */

import { buildRouter } from '../../../src/edge/worker/router/router.ts'
import { planSchema, type Plan } from '../../../src/protocol/plan.ts'
import { atMost } from '../../benchmarks/goals.ts'
import type { ScenarioResult } from '../../benchmarks/scenario.ts'
import { spread, type Spread } from '../../benchmarks/statistics.ts'
import { figure, mebibytes } from '../../benchmarks/table.ts'
import type { ControlPlane } from '../control-plane.ts'
import { withFleet } from '../fleet.ts'
import { deploy, uploadVersion } from '../functions.ts'
import type { FleetBench, FleetScenario, Settings } from '../scenario.ts'
import type { SimulatedNode } from '../simulated-node.ts'

const rounds = 7
/** Requests to the API at the same time while the functions and routes are made. */
const makingMax = 8
const lookups = 200_000

export const tables: FleetScenario = {
  name: 'tables',
  about: 'many functions and routes: plans, differences, start, and the table of a node',
  async run(bench) {
    const options = { nodes: 1, heartbeat_ms: 30_000, syncs: false }
    return withFleet(options, async (cp, { nodes: [node] }) => {
      if (node === undefined) throw new Error('There is no node.')
      return report(bench.settings, await measure(cp, node, bench))
    })
  },
}

async function measure(cp: ControlPlane, node: SimulatedNode, bench: FleetBench) {
  const made = await make(cp, bench)
  const full = await repeat(() => timed(() => readPlan(cp, node, 0)))
  const delta = await repeat(async () => {
    const base = await revisionOf(cp, node)
    // A node's acknowledgement makes it the difference from its revision instead of the whole.
    await node.cp.acknowledge({ base_revision: 0, revision: base, results: [], duration_ms: 0 })
    await cp.call('POST', '/routes', { path: `/new/${crypto.randomUUID()}`, function: 'f-0' })
    return timed(() => readPlan(cp, node, base))
  })
  await cp.kill()
  const start_ms = await cp.start()
  const whole = full.at(-1)
  const one = delta.at(-1)
  if (whole === undefined || one === undefined) throw new Error('No plan was measured.')
  return {
    made,
    start_ms,
    resident_bytes: cp.residentBytes(),
    full_ms: spread(full.map(({ ms }) => ms)),
    delta_ms: spread(delta.map(({ ms }) => ms)),
    full_bytes: whole.bytes,
    delta_bytes: one.bytes,
    delta_actions: one.plan.actions.length,
    table: tableOf(whole.plan),
  }
}

type Measured = Awaited<ReturnType<typeof measure>>

function report({ functions, routes }: Settings, measured: Measured): ScenarioResult {
  const { made, table, full_ms, delta_ms } = measured
  const ms = ({ min, median, max }: Spread) => [figure(min), figure(median), figure(max)]
  return {
    tables: [
      {
        title: `${functions} functions and ${routes} routes, ${rounds} rounds`,
        head: ['', 'min', 'median', 'max'],
        rows: [
          ['whole plan, ms', ...ms(full_ms)],
          ['plan after one more route, ms', ...ms(delta_ms)],
          ['node: table built at once, ms', ...ms(table.build_ms)],
          ['node: look-up, ns', ...ms(table.lookup_ns)],
        ],
      },
      {
        title: 'Once',
        head: ['', ''],
        rows: [
          ['whole plan, MiB', mebibytes(measured.full_bytes)],
          ['plan after one more route, bytes', String(measured.delta_bytes)],
          ['actions in it', String(measured.delta_actions)],
          ['cp start until ready, ms', figure(measured.start_ms)],
          ['cp RSS after it, MiB', mebibytes(measured.resident_bytes)],
          ['functions made, per second', figure(functions / made.functions_seconds)],
          ['routes made, per second', figure(routes / made.routes_seconds)],
        ],
      },
    ],
    goals: [atMost(50, `plan over ${routes} routes after a change, median`, delta_ms.median, 'ms')],
    notes: ['Times of plans are those of whole requests: made, sent and received.'],
    raw: measured,
  }
}

async function make(cp: ControlPlane, { settings, say }: FleetBench) {
  say(`making ${settings.functions} functions`)
  const functionsAt = performance.now()
  await inParallel(settings.functions, async (index) => {
    await deploy(cp, `f-${index}`, await uploadVersion(cp, `f-${index}`))
  })
  const routesAt = performance.now()
  say(`making ${settings.routes} routes`)
  await inParallel(settings.routes, async (index) => {
    const body = {
      path: `/service/${index}`,
      path_type: 'exact',
      function: `f-${index % settings.functions}`,
    }
    await cp.call('POST', '/routes', body)
  })
  return {
    functions_seconds: (routesAt - functionsAt) / 1000,
    routes_seconds: (performance.now() - routesAt) / 1000,
  }
}

async function inParallel(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: makingMax }, worker))
}

async function repeat<T>(work: () => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (let round = 0; round < rounds; round++) results.push(await work())
  return results
}

async function timed(read: () => Promise<{ text: string }>) {
  const startedAt = performance.now()
  const { text } = await read()
  const ms = performance.now() - startedAt
  return { ms, bytes: Buffer.byteLength(text), plan: planSchema.parse(JSON.parse(text)) }
}

async function readPlan(cp: ControlPlane, node: SimulatedNode, revision: number) {
  const { id: nodeId, credentials } = node
  const response = await fetch(`${cp.url}/api/v1/nodes/${nodeId}/sync?revision=${revision}`, {
    headers: { authorization: `Bearer ${credentials.token}` },
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`The plan was answered ${response.status}: ${text}`)
  return { text }
}

async function revisionOf(cp: ControlPlane, node: SimulatedNode): Promise<number> {
  const { text } = await readPlan(cp, node, 0)
  return planSchema.parse(JSON.parse(text)).revision
}

/** What the plan's routes cost a worker: the table made in one go, and finding a path that has a route. */
function tableOf({ actions }: Plan): { build_ms: Spread; lookup_ns: Spread } {
  const routes = actions.flatMap((action) => (action.action === 'put_route' ? [action.route] : []))
  const builds: number[] = []
  const finds: number[] = []
  for (let round = 0; round < rounds; round++) {
    const builtAt = performance.now()
    const router = buildRouter(routes)
    builds.push(performance.now() - builtAt)
    const foundAt = Bun.nanoseconds()
    for (let at = 0; at < lookups; at++) {
      const path = routes[(at * 7919) % routes.length]?.path ?? ''
      if (router.match('api.test', path, 'GET').kind !== 'found')
        throw new Error(`${path} is not found.`)
    }
    finds.push((Bun.nanoseconds() - foundAt) / lookups)
  }
  return { build_ms: spread(builds), lookup_ns: spread(finds) }
}
