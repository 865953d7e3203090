/** What the rewriting needs to know of a module before it changes anything. */

import type { WasmModule } from '../module.ts'
import type { CallGraph } from './call-graph.ts'
import { buildCallGraph } from './call-graph.ts'
import type { FunctionProfile } from './profile.ts'
import { profileBodies } from './profile.ts'
import type { StackPlan } from './stack-plan.ts'
import { planStack } from './stack-plan.ts'

export interface Survey {
  readonly module: WasmModule
  /** By body. */
  readonly profiles: readonly FunctionProfile[]
  /** Functions that an element segment, a constant or `ref.func` names: what the table may hold. */
  readonly referenced: ReadonlySet<number>
  readonly graph: CallGraph
  readonly stack: StackPlan
}

/** `measured` as for `planStack`. */
export function surveyModule(module: WasmModule, measured: ArrayLike<number> | null): Survey {
  const referenced = new Set(module.referenced)
  const profiles = profileBodies(module, referenced)
  const graph = buildCallGraph(module, profiles, referenced)
  const stack = planStack(module, profiles, graph, measured)
  return { module, profiles, referenced, graph, stack }
}
