/**
 * Who takes the budget of stack along in compiled code (`budget.ts`): counted functions, and those from which one can be reached.
 */

import { alongCycle } from './call-graph.ts'
import type { Survey } from './survey.ts'

/** By function of the index space, and behind them the table, as in the call graph: what holds for calls through it. */
export interface BudgetPlan {
  /** Whether a counted function can be reached from it, or it is one. */
  readonly reaches: Uint8Array
  /** Whether it has the budget as one more parameter; those have that the table holds, too, once indirect calls pass it. */
  readonly takes: Uint8Array
  /** Whether it is counted and takes its frame itself; the others' callers have done so. */
  readonly selfCounting: Uint8Array
}

/**
 * Instructions that call a function up to which each of them takes its frame. Where calls follow one another that is cheaper
 * than doing it within: a caller that has looked once knows it for its other calls, and a call that only returns does nothing
 * at all. In a loop it would be done each time round, with one more value to be kept meanwhile.
 */
const countingSitesMax = 8

export function planBudget(survey: Survey): BudgetPlan {
  const { module, referenced } = survey
  const table = module.functions.length
  const reaches = findReaching(survey)
  const takes = reaches.slice()
  if (reaches[table] === 1) {
    // For imported ones something else stands in the table (`trampolines.ts`).
    for (const index of referenced) if (index >= module.importedFunctions) takes[index] = 1
  }
  return { reaches, takes, selfCounting: findSelfCounting(survey) }
}

/** In the order of the call graph callees come first, and functions of one cycle are all counted. */
function findReaching({ module, profiles, graph, stack }: Survey): Uint8Array {
  const table = module.functions.length
  const reaches = new Uint8Array(table + 1)
  reaches.set(stack.counted)
  reaches[table] = graph.recursive[table] ?? 0
  const oneReaches = (callees: readonly number[]) => callees.some((each) => reaches[each] === 1)
  for (const node of graph.order) {
    if (reaches[node] === 1) continue
    const profile = profiles[node - module.importedFunctions]
    if (node === table) reaches[node] = oneReaches(graph.reachable) ? 1 : 0
    else if (node >= module.importedFunctions && profile !== undefined) {
      const indirectly = profile.indirectCalls > 0 && reaches[table] === 1
      reaches[node] = indirectly || oneReaches(profile.calls) ? 1 : 0
    }
  }
  return reaches
}

function findSelfCounting({ module, profiles, graph, referenced, stack }: Survey): Uint8Array {
  const sites = new Float64Array(module.functions.length)
  for (const [at, profile] of profiles.entries()) {
    for (const [which, callee] of profile.calls.entries()) {
      const again = profile.calledInLoops.has(callee)
      const repeats = again && alongCycle(graph, module.importedFunctions + at, callee)
      sites[callee] = (sites[callee] ?? 0) + (repeats ? Infinity : (profile.sites[which] ?? 0))
    }
  }
  return Uint8Array.from(stack.counted, (counted, index) =>
    counted === 1 && (referenced.has(index) || (sites[index] ?? 0) > countingSitesMax) ? 1 : 0,
  )
}
