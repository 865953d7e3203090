/**
 * Which functions of a compiled module need polls at their calls, and which on their way out. Loops and recursion poll by
 * themselves; but forty functions that each call the next one twice do 2^40 calls without either.
 */

import type { WasmModule } from '../module.ts'
import type { CallGraph } from './call-graph.ts'
import type { FunctionProfile } from './profile.ts'

/** Instructions that may run from one poll to the next, calls included; a few milliseconds. */
const unpolledInstructionsMax = 1_000_000

/**
 * Instructions of a counted function, calls included, up to which compiled code polls on the way in only: all that the
 * stack holds of such functions return within milliseconds.
 */
const unpolledReturnMax = 1_000

/** One flag per body each. */
export interface PollPlan {
  /** Whether it is to poll before each call that it makes. */
  readonly heavy: Uint8Array
  /** Whether, if it is counted, it is to poll on its way out too. */
  readonly slowReturn: Uint8Array
}

/**
 * A call of a counted function adds nothing to what its caller does between polls, because it polls on its way in. One of a
 * heavy function adds what it does before its first poll or after its last: its own instructions and one call.
 */
export function planPolls(
  module: WasmModule,
  profiles: readonly FunctionProfile[],
  graph: CallGraph,
  counted: Uint8Array,
): PollPlan {
  const heavy = new Uint8Array(profiles.length)
  const slowReturn = new Uint8Array(profiles.length)
  const costs = new CallCosts(module, graph)
  for (const node of graph.order) {
    const at = node - module.importedFunctions
    const profile = profiles[at]
    if (at < 0 || profile === undefined) continue
    const { all, dearest } = costs.ofCalls(profile)
    heavy[at] = profile.instructions + all > unpolledInstructionsMax ? 1 : 0
    const between = profile.instructions + (heavy[at] === 1 ? dearest : all)
    slowReturn[at] = between > unpolledReturnMax ? 1 : 0
    if (counted[node] !== 1) costs.set(node, between)
  }
  return { heavy, slowReturn }
}

/** Instructions that a call of each function adds to what its caller does between polls. */
class CallCosts {
  /** Imported functions look at the slot themselves. Counted ones keep their 1, on whose cycles no order is right. */
  readonly #costs: Float64Array
  readonly #reachable: readonly number[]
  #table: number | null = null

  constructor(module: WasmModule, graph: CallGraph) {
    this.#costs = new Float64Array(module.functions.length).fill(1)
    this.#reachable = graph.reachable
  }

  set(node: number, cost: number): void {
    this.#costs[node] = cost
  }

  /** What the calls in a body come to, each made once, and the dearest of them. */
  ofCalls(profile: FunctionProfile): { all: number; dearest: number } {
    const indirect = profile.indirectCalls === 0 ? 0 : this.#tableCost()
    let all = profile.indirectCalls * indirect
    let dearest = indirect
    for (const [index, callee] of profile.calls.entries()) {
      const cost = this.#costs[callee] ?? 1
      all += (profile.sites[index] ?? 0) * cost
      dearest = Math.max(dearest, cost)
    }
    return { all, dearest }
  }

  /**
   * The dearest function that the table may hold. To be asked only of a function that calls through the table: by then all
   * that the table reaches are known, but for those that share a cycle with it, which are counted.
   */
  #tableCost(): number {
    if (this.#table === null) {
      this.#table = 1
      for (const callee of this.#reachable) {
        this.#table = Math.max(this.#table, this.#costs[callee] ?? 1)
      }
    }
    return this.#table
  }
}
