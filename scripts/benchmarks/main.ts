/** Measures edgefn beside its peers, in turns in one run. Usage: scripts/bench [OPTIONS], see settings.ts. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'

import { BINARY } from '../../test/e2e/harness.ts'
import { renderGoals, renderScenario } from './report.ts'
import type { Scenario, ScenarioResult } from './scenario.ts'
import { cold } from './scenarios/cold.ts'
import { compute } from './scenarios/compute.ts'
import { wagi } from './scenarios/fresh.ts'
import { hello } from './scenarios/hello.ts'
import { echo, transform } from './scenarios/payload.ts'
import { mixed } from './scenarios/mixed.ts'
import { overhead } from './scenarios/overhead.ts'
import { scale } from './scenarios/scale.ts'
import { sleepers } from './scenarios/sleepers.ts'
import { start } from './scenarios/start.ts'
import { assertPeersInstalled } from './servers/peers.ts'
import { endRunning } from './servers/running.ts'
import { parseCommandLine, USAGE, type CommandLine } from './settings.ts'

const SCENARIOS: readonly Scenario[] = [
  hello,
  echo,
  transform,
  compute,
  wagi,
  cold,
  start,
  mixed,
  sleepers,
  scale,
  overhead,
]

function commandLine(): CommandLine {
  try {
    const names = SCENARIOS.map(({ name }) => name)
    return parseCommandLine(process.argv.slice(2), names)
  } catch (thrown) {
    console.error(thrown instanceof Error ? thrown.message : String(thrown))
    console.error(USAGE)
    for (const { name, about } of SCENARIOS) console.error(`  ${name.padEnd(10)} ${about}`)
    process.exit(2)
  }
}

const { only, json, ...settings } = commandLine()
assertPeersInstalled()
const dir = mkdtempSync(join(tmpdir(), 'edgefn-bench-'))
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    void endRunning().then(() => {
      rmSync(dir, { recursive: true, force: true })
      process.exit(130)
    })
  })
}
const startedAt = performance.now()
const say = (text: string) => {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0)
  console.error(`${seconds.padStart(5)} s  ${text}`)
}
const results = new Map<string, ScenarioResult>()
const failures: string[] = []
const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'processor'}`
const edgefn = Bun.spawnSync([BINARY, '--version']).stdout.toString().trim()
console.log(
  `${machine}, Bun ${Bun.version}, edgefn ${edgefn}, ` +
    `${settings.rounds} rounds of ${settings.seconds} s; medians of the rounds`,
)

/** Everything that was measured up to now. */
function writeMeasured(path: string): void {
  const goals = [...results.values()].flatMap((result) => result.goals)
  const measured = Object.fromEntries([...results].map(([name, { raw }]) => [name, raw]))
  const run = { machine, bun: Bun.version, edgefn, settings, goals, failures, measured }
  writeFileSync(path, JSON.stringify(run, null, 1))
}

try {
  for (const scenario of SCENARIOS) {
    if (only !== null && !only.includes(scenario.name)) continue
    say(`${scenario.name}: ${scenario.about}`)
    try {
      const result = await scenario.run({ settings, dir, say })
      results.set(scenario.name, result)
      if (json !== null) writeMeasured(json)
      console.log(`\n${renderScenario(scenario.name, result)}`)
    } catch (thrown) {
      // The others still have something to say.
      const text = `${scenario.name} could not be measured: ${String(thrown)}`
      failures.push(text)
      console.error(text, thrown)
    }
  }
} finally {
  rmSync(dir, { recursive: true, force: true })
}
console.log(renderGoals([...results.values()].flatMap((result) => result.goals)))
for (const failure of failures) console.log(failure)
if (json !== null) writeMeasured(json)
process.exit(failures.length === 0 ? 0 : 1)
