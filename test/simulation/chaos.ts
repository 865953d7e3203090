/** What may happen in a schedule: the developer's work, crashes, cuts, and the weather of the network. */

import type { PromisedRoute } from './promises.ts'
import type { Kind } from './tally.ts'
import { FUNCTIONS, NODES, VERSIONS } from './template.ts'
import type { World } from './world.ts'

/** Milliseconds by which a clock is set at most. */
const clockMsMax = 3_600_000

type Event = (world: World) => void | Promise<void>

function pick<T>(world: World, items: readonly T[]): T {
  const item = items[Math.floor(world.time.random() * items.length)]
  if (item === undefined) throw new Error('There is nothing to pick from.')
  return item
}

const TARGETS = ['all', 'all', 'tokyo', 'tokyo,osaka', '!paris'] as const

/** Without a window nothing of what nodes report is looked at. */
function canaryGates(world: World) {
  const window_seconds = pick(world, [0, 10, 40])
  return { window_seconds, min_samples: window_seconds === 0 ? 0 : pick(world, [0, 0, 10]) }
}

/** How a deployment goes about it. */
const STRATEGIES: readonly ((world: World) => { readonly strategy?: 'rolling' | 'canary' })[] = [
  () => ({}),
  (world) => ({
    strategy: 'rolling',
    rolling: { batch: pick(world, [1, 2, '50%']), pause_seconds: pick(world, [0, 20]) },
    gates: { window_seconds: pick(world, [0, 5, 30]), min_samples: 0 },
  }),
  (world) => ({
    strategy: 'canary',
    canary: { steps: [{ nodes: 1 }, { nodes: pick(world, [2, '50%']) }, { nodes: '100%' }] },
    gates: canaryGates(world),
    on_failure: pick(world, ['roll_back', 'stop']),
    max_failed: pick(world, [0, 1, '50%']),
    step_timeout_seconds: pick(world, [60, 300]),
  }),
]

async function promiseDeployment(
  world: World,
  kind: Kind,
  path: string,
  body: {
    readonly version?: number
    readonly to?: number
    readonly target?: string
    readonly strategy?: string
  },
): Promise<void> {
  const name = pick(world, FUNCTIONS)
  const made = await world.ask(kind, 'POST', path, { id: name }, body)
  if (made === null) return
  world.promises.deployments.set(String(made['id']), {
    function: name,
    version: body.version ?? body.to ?? null,
    target: body.target ?? null,
    driven: body.strategy !== undefined,
  })
}

const deploy: Event = (world) => {
  const how = pick(world, STRATEGIES)(world)
  const body = { version: pick(world, VERSIONS), target: pick(world, TARGETS), ...how }
  return promiseDeployment(world, how.strategy ?? 'immediate', '/functions/:id/deploy', body)
}

const deploySplit: Event = (world) => {
  const first = Math.floor(world.time.random() * (VERSIONS.length - 1))
  const weight = 1 + Math.floor(world.time.random() * 99)
  const versions = [
    { version: VERSIONS[first], weight },
    { version: VERSIONS[first + 1], weight: 100 - weight },
  ]
  const body = { versions, target: pick(world, TARGETS) }
  return promiseDeployment(world, 'split', '/functions/:id/deploy', body)
}

/** To where it was before, which is refused when there is no such version, or to a version. */
const rollBack: Event = (world) => {
  const body = pick(world, [{}, { to: pick(world, VERSIONS) }])
  return promiseDeployment(world, 'rollback', '/functions/:id/rollback', body)
}

/** An order to the newest deployment that goes step by step; what is paused is resumed some time later, unless nobody thinks of it. */
const order: Event = async (world) => {
  const { time, promises } = world
  const id = [...promises.deployments].findLast(([, { driven }]) => driven)?.[0]
  if (id === undefined) return
  const say = (what: 'pause' | 'resume' | 'promote' | 'abort') =>
    world.ask(what, 'POST', `/deployments/:id/${what}`, { id }, {})
  const what = pick(world, ['pause', 'pause', 'resume', 'promote', 'abort'] as const)
  await say(what)
  if (what === 'pause' && time.random() < 0.7) {
    time.at(time.random() * 30_000, () => void say('resume'))
  }
}

const addRoute: Event = async (world) => {
  const selector = pick(world, [null, null, 'tokyo', '!osaka'])
  const name = pick(world, FUNCTIONS)
  const path = `/${Math.floor(world.time.random() * 20)}`
  const body = { path, function: name, pop_selector: selector }
  const made = await world.ask('route created', 'POST', '/routes', {}, body)
  if (made === null) return
  const promised: PromisedRoute = { function: name, selectors: [selector], removal: 'no' }
  world.promises.routes.set(String(made['id']), promised)
}

function someRoute({ promises }: World): [string, PromisedRoute] | null {
  return [...promises.routes].findLast(([, { removal }]) => removal === 'no') ?? null
}

const changeRoute: Event = async (world) => {
  const [id, promised] = someRoute(world) ?? []
  if (id === undefined || promised === undefined) return
  const pop_selector = pick(world, [null, 'tokyo', 'paris'])
  promised.selectors.push(pop_selector)
  await world.ask('route changed', 'PUT', '/routes/:id', { id }, { pop_selector })
}

const removeRoute: Event = async (world) => {
  const [id, promised] = someRoute(world) ?? []
  if (id === undefined || promised === undefined) return
  promised.removal = 'asked'
  const answer = await world.ask('route removed', 'DELETE', '/routes/:id', { id })
  if (answer !== null) promised.removal = 'acknowledged'
}

/** The wall clock of the control plane is set, forward or back. */
const setClock: Event = (world) => {
  const byMs = (world.time.random() * 2 - 1) * clockMsMax
  world.note(`the clock of cp is set by ${Math.round(byMs / 1000)} s`)
  world.tally.count('clock set')
  world.time.setClock('cp', byMs)
}

const crashNode: Event = (world) => {
  const node = pick(world, world.nodes)
  if (!node.alive) return
  world.note(`${node.id} crashes`)
  world.tally.count('node crash')
  node.crash()
  world.time.at(world.time.random() * 60_000, () => {
    if (!node.alive) node.start()
  })
}

const crashControlPlane: Event = async (world) => {
  world.tally.count('cp crash')
  await world.crashControlPlane()
  world.time.at(world.time.random() * 30_000, () => void world.startControlPlane())
}

const cutLink: Event = (world) => {
  const { id } = pick(world, NODES)
  world.note(`${id} is cut off`)
  world.tally.count('cut')
  world.network.cut(id)
  world.time.at(world.time.random() * 90_000, () => {
    world.note(`${id} is connected again`)
    world.network.mend(id)
  })
}

const changeWeather: Event = ({ network, time }) => {
  Object.assign(network.weather, { lost: time.random() * 0.5, doubled: time.random() * 0.5 })
}

/** By how often each happens. */
const EVENTS: readonly (readonly [number, Event])[] = [
  [10, deploy],
  [3, rollBack],
  [4, order],
  [5, deploySplit],
  [4, addRoute],
  [2, changeRoute],
  [2, removeRoute],
  [4, crashNode],
  [4, crashControlPlane],
  [3, cutLink],
  [2, changeWeather],
  [2, setClock],
]

/** Something that may happen, by its share. */
export function anyEvent(world: World): Event {
  const total = EVENTS.reduce((sum, [share]) => sum + share, 0)
  let at = world.time.random() * total
  for (const [share, event] of EVENTS) {
    at -= share
    if (at < 0) return event
  }
  return deploy
}
