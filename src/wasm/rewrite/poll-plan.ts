/**
 * Where functions of a compiled module poll besides their loops: in recursion, at the calls of those that do much without
 * either, on the way out. Loops poll by themselves, but forty functions that each call the next one twice do 2^40 calls.
 */

import type { CallGraph } from './call-graph.ts'
import { alongCycle } from './call-graph.ts'
import type { FunctionProfile } from './profile.ts'
import type { Survey } from './survey.ts'

/** Instructions that may run from one poll to the next, calls included; a few milliseconds. */
const unpolledInstructionsMax = 1_000_000

/**
 * Instructions of a recursive function, calls included, for each byte of its frame up to which it does not poll on its way
 * out: all that the stack holds of such functions return within milliseconds.
 */
const unpolledReturnPerByte = 8

/** Calls to its own cycle up to which a function polls before those, of more it polls once on its way in. */
const recursiveSitesMax = 8

/** How a function polls because it lies on a cycle of the call graph: so that each call of it that goes on along the cycle has one. */
export const RECURSION = { none: 0, onEntry: 1, beforeCalls: 2 } as const

/** One number per body each. */
export interface PollPlan {
  /** Whether it is to poll before each call that it makes. */
  readonly heavy: Uint8Array
  /** One of `RECURSION`. */
  readonly recursion: Uint8Array
  /** Whether it is to poll on its way out too. */
  readonly slowReturn: Uint8Array
}

/**
 * A call of a recursive function either makes no call along the cycle, and does no more than it can do without, or polls before
 * it makes one. A call of a heavy function adds what it does before its first poll or after its last: its own instructions and
 * one call.
 */
export function planPolls(survey: Survey): PollPlan {
  const { graph } = survey
  const plan = {
    heavy: new Uint8Array(survey.profiles.length),
    recursion: new Uint8Array(survey.profiles.length),
    slowReturn: new Uint8Array(survey.profiles.length),
  }
  const costs = new CallCosts(survey)
  for (let from = 0; from < graph.order.length;) {
    const to = endOfComponent(graph, from)
    planComponent(survey, plan, costs, graph.order.subarray(from, to))
    from = to
  }
  return plan
}

/** Nodes of one component stand together; the place behind the last of the one that begins at `from`. */
function endOfComponent({ order, component }: CallGraph, from: number): number {
  const at = (place: number) => component[order[place] ?? 0]
  let to = from + 1
  while (to < order.length && at(to) === at(from)) to += 1
  return to
}

function planComponent(
  { module, profiles, graph, stack }: Survey,
  plan: PollPlan,
  costs: CallCosts,
  nodes: Int32Array,
): void {
  const bodies = [...nodes]
    .filter((node) => node >= module.importedFunctions && node < module.functions.length)
    .map((node) => node - module.importedFunctions)
  const profileOf = (at: number) => profiles[at] as FunctionProfile
  for (const at of bodies) {
    const node = module.importedFunctions + at
    const profile = profileOf(at)
    const { all, dearest, inner } = costs.ofCalls(node, profile, 'others')
    const alone = profile.instructions + all
    const cost = alone > unpolledInstructionsMax ? profile.instructions + dearest : alone
    if (graph.recursive[node] === 1) {
      const onEntry = inner > recursiveSitesMax
      plan.recursion[at] = onEntry ? RECURSION.onEntry : RECURSION.beforeCalls
      costs.set(node, onEntry ? 1 : cost)
    } else costs.set(node, cost)
  }
  for (const at of bodies) {
    const node = module.importedFunctions + at
    const profile = profileOf(at)
    const { all, dearest } = costs.ofCalls(node, profile, 'all')
    const whole = profile.instructions + all
    plan.heavy[at] = whole > unpolledInstructionsMax ? 1 : 0
    const between = plan.heavy[at] === 1 ? profile.instructions + dearest : whole
    const slow = between > (stack.frames[at] ?? 0) * unpolledReturnPerByte
    plan.slowReturn[at] = graph.recursive[node] === 1 && slow ? 1 : 0
  }
}

/** Instructions that a call of each function adds to what its caller does between polls. */
class CallCosts {
  readonly #survey: Survey
  /** Imported functions, which look at the slot themselves, keep their 1. */
  readonly #costs: Float64Array
  #table: number | null = null

  constructor(survey: Survey) {
    this.#survey = survey
    this.#costs = new Float64Array(survey.module.functions.length).fill(1)
  }

  set(node: number, cost: number): void {
    this.#costs[node] = cost
  }

  /**
   * What the calls in a body come to, each made once, and the dearest of them: of `others`, those that do not lead along the
   * function's own cycle, or of all. `inner` is how many do.
   */
  ofCalls(
    node: number,
    profile: FunctionProfile,
    which: 'others' | 'all',
  ): { all: number; dearest: number; inner: number } {
    const sum = { all: 0, dearest: 0, inner: 0 }
    const add = (callee: number, sites: number, cost: () => number) => {
      const inner = alongCycle(this.#survey.graph, node, callee)
      if (inner) sum.inner += sites
      if (inner && which === 'others') return
      sum.all += sites * cost()
      sum.dearest = Math.max(sum.dearest, cost())
    }
    for (const [index, callee] of profile.calls.entries()) {
      add(callee, profile.sites[index] ?? 0, () => this.#costs[callee] ?? 1)
    }
    const table = this.#survey.module.functions.length
    if (profile.indirectCalls > 0) add(table, profile.indirectCalls, () => this.#tableCost())
    return sum
  }

  /**
   * The dearest function that the table may hold. To be asked only for calls through the table that count: by then all
   * that the table reaches are known, those that share a cycle with it as far as they go without another call along it.
   */
  #tableCost(): number {
    if (this.#table === null) {
      this.#table = 1
      for (const callee of this.#survey.graph.reachable) {
        this.#table = Math.max(this.#table, this.#costs[callee] ?? 1)
      }
    }
    return this.#table
  }
}
