/** Fuzzes ingest, rewriter and runtime for a while: random modules against referees, mutants of real ones in a process of their own. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { runMutants } from '../test/fuzz/mutants.ts'
import { randomModule } from '../test/fuzz/random-module.ts'
import { judge } from '../test/fuzz/rewriting.ts'

const USAGE =
  'Usage: scripts/fuzz [--seconds N] [--seed N] [--save FOLDER] [--only modules|mutants]'

/** Of one round; between rounds the time is looked at. */
const modulesPerRound = 50
const mutantsPerRound = 2_000

interface Counts {
  modules: number
  accepted: number
  rewritten: number
  calls: number
  overflown: number
  mutants: number
  mutantsAccepted: number
  mutantsCompiled: number
  readonly outcomes: Record<string, number>
  readonly problems: string[]
}

function options(): { seconds: number; seed: number; save: string; only: string | undefined } {
  try {
    const { values } = parseArgs({
      options: {
        seconds: { type: 'string', default: '60' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
        save: { type: 'string', default: 'fuzz-failures' },
        only: { type: 'string' },
      },
    })
    const seconds = Number(values.seconds)
    const seed = Number(values.seed)
    const knowsOnly = [undefined, 'modules', 'mutants'].includes(values.only)
    if (seconds > 0 && Number.isSafeInteger(seed) && seed >= 0 && knowsOnly) {
      return { seconds, seed, save: values.save, only: values.only }
    }
  } catch {
    // Told below.
  }
  console.error(USAGE)
  process.exit(2)
}

async function fuzzModules(counts: Counts, seed: number, save: string): Promise<void> {
  for (let each = seed; each < seed + modulesPerRound; each += 1) {
    const verdict = await judge(each)
    counts.modules += 1
    counts.accepted += Number(verdict.accepted)
    counts.rewritten += Number(verdict.rewritten)
    counts.calls += verdict.calls
    counts.overflown += verdict.overflown
    counts.problems.push(...verdict.problems)
    if (verdict.problems.length === 0) continue
    mkdirSync(save, { recursive: true })
    writeFileSync(join(save, `module-${each}.wasm`), randomModule(each))
  }
}

async function fuzzMutants(counts: Counts, seed: number, save: string): Promise<void> {
  const report = await runMutants({
    first: seed,
    count: mutantsPerRound,
    compileEvery: 8,
    saveTo: save,
  })
  counts.mutants += report.mutants
  counts.mutantsAccepted += report.accepted
  counts.mutantsCompiled += report.compiled
  for (const [outcome, count] of Object.entries(report.outcomes)) {
    counts.outcomes[outcome] = (counts.outcomes[outcome] ?? 0) + count
  }
  counts.problems.push(...report.problems)
}

const { seconds, seed, save, only } = options()
const counts: Counts = {
  modules: 0,
  accepted: 0,
  rewritten: 0,
  calls: 0,
  overflown: 0,
  mutants: 0,
  mutantsAccepted: 0,
  mutantsCompiled: 0,
  outcomes: {},
  problems: [],
}
const endsAt = performance.now() + seconds * 1000
for (let round = 0; performance.now() < endsAt; round += 1) {
  if (only !== 'mutants') await fuzzModules(counts, seed + round * modulesPerRound, save)
  if (only !== 'modules') await fuzzMutants(counts, seed + round * mutantsPerRound, save)
}
console.log(`seed ${seed}`)
console.log(
  `random modules: ${counts.modules}, accepted ${counts.accepted}, rewritten ${counts.rewritten}, ${counts.calls} calls compared, ${counts.overflown} out of stack`,
)
console.log(
  `mutants: ${counts.mutants}, accepted ${counts.mutantsAccepted}, compiled and compared ${counts.mutantsCompiled}; calls by outcome:`,
)
for (const [outcome, count] of Object.entries(counts.outcomes)) console.log(`  ${outcome} ${count}`)
console.log(
  `problems: ${counts.problems.length}${counts.problems.length > 0 ? `, saved to ${save}` : ''}`,
)
for (const problem of counts.problems) console.log(`  ${problem}`)
process.exit(counts.problems.length > 0 ? 1 : 0)
