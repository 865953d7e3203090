/**
 * Runs schedules of a control plane and its nodes under chaos, each decided by its seed, and says which ones broke an invariant.
 * Usage: bun test/simulation/run.ts [--schedules N] [--seed N] [--verbose] [--plant NAME]
 *
 * `--plant` plants a defect (plants.ts), which the invariants must find: the first schedule that does is the last.
 */

import { parseArgs } from 'node:util'

import { anyEvent } from './chaos.ts'
import { differences } from './invariants.ts'
import { isPlantName, PLANTS, type PlantName } from './plants.ts'
import { Tally } from './tally.ts'
import { Template } from './template.ts'
import { World } from './world.ts'

/** Virtual milliseconds of chaos, and those in which all must have converged after it. */
const chaosMs = 3 * 60_000
const convergenceMsMax = 40 * 60_000
/** How often it is looked whether all have converged. */
const lookMs = 5_000
const eventsMin = 10
const eventsMax = 40

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
    plant: { type: 'string' },
  },
})
const planted = plantNamed(values.plant)
const tally = new Tally()

function plantNamed(name: string | undefined): PlantName | null {
  if (name === undefined) return null
  if (isPlantName(name)) return name
  throw new Error(`--plant must be one of ${Object.keys(PLANTS).join(', ')}.`)
}

async function runSchedule(template: Template, seed: number): Promise<readonly string[]> {
  using copy = template.copy()
  const world = new World(seed, copy.path, tally, planted)
  const { time } = world
  time.install()
  await world.startControlPlane()
  for (const node of world.nodes) time.at(time.random() * 10_000, () => node.start())
  const events = eventsMin + Math.floor(time.random() * (eventsMax - eventsMin))
  for (let index = 0; index < events; index += 1) {
    const event = anyEvent(world)
    time.at(time.random() * chaosMs, () => void event(world))
  }
  while (await time.step(chaosMs));
  const found = await converge(world)
  await countEndings(world)
  await world.crashControlPlane()
  if (values.verbose) console.log(world.history.join('\n'))
  return found
}

/** All is well again from now on; what still differs when the time is over. */
async function converge(world: World): Promise<readonly string[]> {
  const { time, network } = world
  network.heal()
  await world.startControlPlane()
  if (world.cp !== null) await world.plant.meddle(world.cp, world.promises)
  for (const node of world.nodes) if (!node.alive) node.start()
  const deadline = time.now + convergenceMsMax
  let found: readonly string[] = []
  for (let lookAt = time.now + lookMs; lookAt < deadline; lookAt += lookMs) {
    while (await time.step(lookAt));
    await resumePaused(world)
    found = await differences(world)
    if (found.length === 0 || world.violations.length > 0) break
  }
  const audit = await world.cp?.base.audit.verify(world.cp.base.db)
  return audit?.intact === true ? found : [...found, `audit: ${JSON.stringify(audit?.problem)}`]
}

/** What became of the deployments, and which gates stopped some. */
async function countEndings(world: World): Promise<void> {
  const rows = await world.cp?.base.db.all(
    `SELECT CASE WHEN r.superseded = 1 THEN 'superseded' ELSE d.status END AS status, r.evidence ->> 'gate' AS gate
     FROM deployments d JOIN rollouts r ON r.deployment_id = d.id`,
  )
  for (const { status, gate } of rows ?? []) {
    tally.count(String(status))
    if (gate !== null) tally.count(`gate ${String(gate)}`)
  }
}

/** What the developer, or a gate, has paused goes on to its end. */
async function resumePaused(world: World): Promise<void> {
  const { cp, developer, time } = world
  const caller = { kind: 'user', key_id: 'k', name: 'developer', role: 'owner' } as const
  const paused = await cp?.base.db.all(
    "SELECT deployment_id AS id FROM rollouts WHERE phase = 'paused'",
  )
  for (const row of paused ?? []) {
    const call = { caller, params: { id: String(row['id']) }, body: {} }
    await time.as(cp?.owner ?? developer, () => cp?.call('POST', '/deployments/:id/promote', call))
  }
}

using template = await Template.make()
const first = Number(values.seed)
const schedules = Number(values.schedules)
const broken: number[] = []
for (let seed = first; seed < first + schedules; seed += 1) {
  const found = await runSchedule(template, seed)
  if (found.length === 0) continue
  broken.push(seed)
  console.log(`seed ${seed}:\n${found.map((line) => `  ${line}`).join('\n')}`)
  if (planted !== null) break
}
const missing = tally.missing(schedules)
console.log(tally.toString())
if (missing.length > 0) console.log(`These never happened: ${missing.join(', ')}`)
console.log(
  `${schedules} schedules, ${broken.length} broken${broken.length > 0 ? `: ${broken.join(' ')}` : ''}`,
)
process.exitCode = broken.length === 0 && missing.length === 0 ? 0 : 1
