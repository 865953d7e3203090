/** Measures a control plane with simulated nodes. Usage: scripts/bench-fleet [OPTIONS], see settings.ts. */

import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'

import { BINARY } from '../../test/e2e/harness.ts'
import { renderGoals, renderScenario } from '../benchmarks/report.ts'
import type { ScenarioResult } from '../benchmarks/scenario.ts'
import type { FleetScenario } from './scenario.ts'
import { deployment } from './scenarios/deploy.ts'
import { heartbeats } from './scenarios/heartbeats.ts'
import { restart } from './scenarios/restart.ts'
import { tables } from './scenarios/tables.ts'
import { parseCommandLine, USAGE } from './settings.ts'

const SCENARIOS: readonly FleetScenario[] = [deployment, restart, heartbeats, tables]

function commandLine() {
  try {
    return parseCommandLine(
      process.argv.slice(2),
      SCENARIOS.map(({ name }) => name),
    )
  } catch (thrown) {
    console.error(thrown instanceof Error ? thrown.message : String(thrown))
    console.error(USAGE)
    for (const { name, about } of SCENARIOS) console.error(`  ${name.padEnd(10)} ${about}`)
    process.exit(2)
  }
}

const { only, json, ...settings } = commandLine()
const startedAt = performance.now()
const say = (text: string) => {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0)
  console.error(`${seconds.padStart(5)} s  ${text}`)
}
const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'processor'}`
const edgefn = Bun.spawnSync([BINARY, '--version']).stdout.toString().trim()
console.log(`${machine}, shared with the simulated nodes; Bun ${Bun.version}, edgefn ${edgefn}`)

const results = new Map<string, ScenarioResult>()
const failures: string[] = []
for (const scenario of SCENARIOS) {
  if (only !== null && !only.includes(scenario.name)) continue
  say(`${scenario.name}: ${scenario.about}`)
  try {
    const result = await scenario.run({ settings, say })
    results.set(scenario.name, result)
    console.log(`\n${renderScenario(scenario.name, result)}`)
  } catch (thrown) {
    // The others still have something to say.
    failures.push(`${scenario.name} could not be measured: ${String(thrown)}`)
    console.error(thrown)
  }
}
const goals = [...results.values()].flatMap((result) => result.goals)
console.log(renderGoals(goals))
for (const failure of failures) console.log(failure)
if (json !== null) {
  const measured = Object.fromEntries([...results].map(([name, { raw }]) => [name, raw]))
  writeFileSync(
    json,
    JSON.stringify({ machine, edgefn, settings, goals, failures, measured }, null, 1),
  )
}
process.exit(failures.length === 0 ? 0 : 1)
