/**
 * Which functions of a compiled module need polls at their calls. Loops and recursion poll by themselves; but forty
 * functions that each call the next one twice do 2^40 calls without either.
 */

import type { WasmModule } from '../module.ts'
import type { CallGraph } from './call-graph.ts'
import type { FunctionProfile } from './profile.ts'

/** Instructions that may run from one poll to the next, calls included; a few milliseconds. */
const unpolledInstructionsMax = 1_000_000

/**
 * One flag per body: whether it is to poll before each call that it makes. A call of a function that does so, or that is
 * counted and polls on its way in and out, adds nothing to what its caller does between polls.
 */
export function planPolls(
  module: WasmModule,
  profiles: readonly FunctionProfile[],
  graph: CallGraph,
  counted: Uint8Array,
): Uint8Array {
  const table = module.functions.length
  const heavy = new Uint8Array(profiles.length)
  /** Instructions of one call of a node between polls. */
  const costs = new Float64Array(table + 1)
  for (const node of graph.order) {
    if (node === table) {
      for (const callee of graph.reachable) {
        costs[table] = Math.max(costs[table] ?? 0, costs[callee] ?? 0)
      }
      continue
    }
    const at = node - module.importedFunctions
    const profile = profiles[at]
    if (at < 0 || profile === undefined) {
      costs[node] = 1
      continue
    }
    let cost = profile.instructions + profile.indirectCalls * (costs[table] ?? 0)
    for (const [index, callee] of profile.calls.entries()) {
      cost += (profile.sites[index] ?? 0) * (costs[callee] ?? 0)
    }
    heavy[at] = cost > unpolledInstructionsMax ? 1 : 0
    costs[node] = heavy[at] === 1 || counted[node] === 1 ? 1 : cost
  }
  return heavy
}
