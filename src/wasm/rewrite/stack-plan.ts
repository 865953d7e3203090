/**
 * How much native stack the calls of a module may take: an estimate for each function's frame, and which functions are
 * counted (`depth.ts`) so that what the others take together is small. The same for both tiers, so that a program does
 * not meet another limit when its compiled form takes over.
 */

import type { WasmModule } from '../module.ts'
import type { CallGraph } from './call-graph.ts'
import type { FunctionProfile } from './profile.ts'

/**
 * Bytes of a frame: what any function takes, each of its cells, and each instruction of a long one, for what the compiler
 * makes up on the way. Chosen so that few real functions take more. What compiled frames really take is read from the
 * compiled code (`edge/compile/frames.ts`) and replaces the estimate where it is more.
 */
const frameBytesMin = 120
const cellBytes = 8
const instructionBytes = 0.5
const instructionsBytesMax = 320

/** Bytes that functions which are not counted may take together, on the longest way through them. */
const uncountedBytesMax = 256 * 1024

/** Frame of a function that calls no other up to which it is not counted when the longest way is over its limit. */
const leafBytesMax = 16 * 1024

export interface StackPlan {
  /** Bytes of a call, by body. */
  readonly frames: Float64Array
  /** Whether calls of it are counted, by function of the index space. */
  readonly counted: Uint8Array
}

/** `measured` has the least bytes to take for a body where more is known of it than the estimate; 0 where not. */
export function planStack(
  module: WasmModule,
  profiles: readonly FunctionProfile[],
  graph: CallGraph,
  measured: ArrayLike<number> | null,
): StackPlan {
  const calling = callBytesMax(module)
  const frames = Float64Array.from(profiles, (profile, at) => {
    const indirect = profile.indirectCalls > 0 ? calling : 0
    return Math.max(estimate(profile) + indirect, measured?.[at] ?? 0)
  })
  const counted = graph.recursive.slice(0, module.functions.length)
  if (longestWay(module, profiles, graph, frames, counted) > uncountedBytesMax) {
    for (const [at, { calls, indirectCalls }] of profiles.entries()) {
      const callsOthers = calls.length > 0 || indirectCalls > 0
      if (callsOthers || (frames[at] ?? 0) > leafBytesMax)
        counted[module.importedFunctions + at] = 1
    }
  }
  return { frames, counted }
}

/** Bytes of a parameter or result at most, and what alignment may add to all of them. */
const valueBytes = 16

/** Stack that the values of one call of a module's function may take, beyond those that travel in registers. */
export function callBytesMax({ types }: WasmModule): number {
  const values = types.map(({ params, results }) => params.length + results.length)
  return (values.reduce((most, count) => Math.max(most, count), 0) + 1) * valueBytes
}

function estimate({ cells, instructions }: FunctionProfile): number {
  const spills = Math.min(Math.ceil(instructions * instructionBytes), instructionsBytesMax)
  return frameBytesMin + cells * cellBytes + spills
}

/** Bytes of the functions that are not counted on the way through the call graph where they take most. */
function longestWay(
  module: WasmModule,
  profiles: readonly FunctionProfile[],
  graph: CallGraph,
  frames: Float64Array,
  counted: Uint8Array,
): number {
  const table = module.functions.length
  /** By component: functions of one cycle are all counted, so the whole of it takes what its longest way out takes. */
  const below = new Float64Array(table + 1)
  let longest = 0
  const take = (component: number, callee: number) => {
    const bytes = below[graph.component[callee] ?? 0] ?? 0
    if (bytes > (below[component] ?? 0)) below[component] = bytes
  }
  for (const node of graph.order) {
    const component = graph.component[node] ?? 0
    const profile = profiles[node - module.importedFunctions]
    if (node === table) for (const callee of graph.reachable) take(component, callee)
    else if (node >= module.importedFunctions && profile !== undefined) {
      for (const callee of profile.calls) take(component, callee)
      if (profile.indirectCalls > 0) take(component, table)
      if (counted[node] !== 1) {
        below[component] = (below[component] ?? 0) + (frames[node - module.importedFunctions] ?? 0)
      }
    }
    longest = Math.max(longest, below[component] ?? 0)
  }
  return longest
}
