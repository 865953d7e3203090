/**
 * Judges the seeds 1 to N and prints what came of them as JSON. A process of its own, because every instance that it makes has
 * the garbage of all tests before collected: a suite took minutes for what takes seconds.
 */

import { judge } from './rewriting.ts'

const seeds = Number(process.argv[2])
const problems: string[] = []
const counts = { accepted: 0, rewritten: 0, calls: 0, overflown: 0 }
for (let seed = 1; seed <= seeds; seed += 1) {
  const verdict = await judge(seed)
  problems.push(...verdict.problems)
  counts.accepted += Number(verdict.accepted)
  counts.rewritten += Number(verdict.rewritten)
  counts.calls += verdict.calls
  counts.overflown += verdict.overflown
}
process.stdout.write(JSON.stringify({ problems, ...counts }))
