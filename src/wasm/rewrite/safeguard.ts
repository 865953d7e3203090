/**
 * The rewriting of a module before the engine gets it: depth counted where it can recurse, places where it can be stopped
 * where the engine would not look by itself.
 */

import { SECTION } from '../decode.ts'
import { Writer } from '../encode.ts'
import type { WasmModule } from '../module.ts'
import { Appendix, EXPORT_KIND } from './appendix.ts'
import { planBudget } from './budget-plan.ts'
import { StackBudget } from './budget.ts'
import { addCleanState } from './clean-state.ts'
import { CompiledBodies } from './compiled-bodies.ts'
import { DepthCounter } from './depth.ts'
import { GrowthNote } from './growth.ts'
import { interpretedBodies } from './interpreted-bodies.ts'
import { planPolls } from './poll-plan.ts'
import { POLL } from './polls.ts'
import { redirectedExports, retypedFunctions } from './retyping.ts'
import type { SectionChange } from './sections.ts'
import { encodeModule } from './sections.ts'
import { STOP_POINT } from './stop-points.ts'
import type { Survey } from './survey.ts'
import { surveyModule } from './survey.ts'
import { Trampolines } from './trampolines.ts'

/** The start function as an export: the host calls it itself, under its deadline and when its polls work. */
export const START_EXPORT = 'edgefn:start'
/** Memory 0 of a compiled module, whether or not the module exports it. */
export const MEMORY_EXPORT = 'edgefn:memory'

/**
 * The module for the interpreter: neither its recursion nor its long operations can get the better of the host. Null when
 * it can do neither and is to be run as it is. `stackBytes` is what recursion may take (`stack-plan.ts`). Functions that
 * need nothing are copied as they are. `module` is a normalised one.
 */
export function safeguardModule(
  module: WasmModule,
  stackBytes: number,
): Uint8Array<ArrayBuffer> | null {
  const survey = surveyModule(module, null)
  const counts = survey.stack.counted.includes(1)
  const long = survey.profiles.some((profile) => profile.long)
  if (!counts && !long && module.start === null) return null
  const appendix = new Appendix(module)
  const counter = counts ? new DepthCounter(appendix, stackBytes) : null
  const growth = noteGrowth(survey, appendix)
  const start = exportStart(appendix, null, module.start)
  const code = codeSection(
    survey,
    interpretedBodies(survey, { appendix, counter, growth }),
    appendix,
  )
  return encodeModule(module, { ...appendix.changes({}), ...start, [SECTION.code]: code })
}

export interface CompiledModule {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Bytes of stack that the rewriting reckons with for a call, by function that the rewritten module defines. */
  readonly frames: Float64Array
  /** Whether each of those calls through a table. */
  readonly indirect: readonly boolean[]
}

export interface CompilerSettings {
  readonly stackBytes: number
  /** What frames are known to take, by body, or null; see `planStack`. */
  readonly measured: ArrayLike<number> | null
  /** Whether guests are to be stopped at polls (`polls.ts`); else the compiler has to see to it. */
  readonly polls: boolean
}

/**
 * The module for the compiler: as above, and with polls, and a memory in any case. With polls it traps at the first one
 * unless the polled page is mapped.
 */
export function safeguardForCompiler(
  module: WasmModule,
  { stackBytes, measured, polls }: CompilerSettings,
): CompiledModule {
  const survey = surveyModule(module, measured)
  const { profiles, stack } = survey
  const appendix = new Appendix(module)
  const budget = stack.counted.includes(1)
    ? new StackBudget(survey, planBudget(survey), appendix, stackBytes)
    : null
  const trampolines = new Trampolines(module, appendix, survey.referenced, budget)
  const growth = noteGrowth(survey, appendix)
  const exported = budget === null ? null : redirectedExports(module, budget)
  const start = exportStart(appendix, budget, module.start)
  appendix.export(MEMORY_EXPORT, EXPORT_KIND.memory, 0)
  addCleanState(module, profiles, appendix)
  const additions = {
    ...{ appendix, budget, growth, trampolines, polls: planPolls(survey) },
    poll: polls ? POLL : NOTHING,
    stopPoint: polls ? POLL : STOP_POINT,
  }
  const code = codeSection(survey, new CompiledBodies(survey, additions).all(), appendix)
  const own = withoutNull({
    [SECTION.global]: trampolines.needed ? trampolines.globals() : null,
    [SECTION.export]: exported,
    [SECTION.function]: budget === null ? null : retypedFunctions(module, budget),
  })
  const bytes = encodeModule(module, {
    ...appendix.changes(own),
    ...start,
    [SECTION.code]: code,
    ...(trampolines.changesElements ? { [SECTION.element]: trampolines.elements() } : {}),
    ...(module.memories.length > 0 ? {} : { [SECTION.memory]: NO_PAGES }),
  })
  const added = appendix.bodies.length
  return {
    bytes,
    frames: Float64Array.from([...stack.frames, ...Array<number>(added).fill(addedFrameBytesMax)]),
    indirect: [
      ...profiles.map((profile) => profile.indirectCalls > 0),
      ...Array<boolean>(added).fill(false),
    ],
  }
}

/** Stack that a function of ours may take: it makes one call at most and has no locals, but may have 1000 parameters. */
const addedFrameBytesMax = 48 * 1024

const NOTHING = new Uint8Array(0)

/** A memory that starts with no page and stays so. */
const NO_PAGES: SectionChange = { added: 1, bytes: Uint8Array.of(1, 0, 0) }

function noteGrowth({ profiles }: Survey, appendix: Appendix): GrowthNote | null {
  return profiles.some((profile) => profile.grows) ? new GrowthNote(appendix) : null
}

function exportStart(
  appendix: Appendix,
  budget: StackBudget | null,
  start: number | null,
): Readonly<Record<number, SectionChange>> {
  if (start === null) return {}
  appendix.export(START_EXPORT, EXPORT_KIND.function, budget?.entry(start) ?? start)
  return { [SECTION.start]: { replaced: null } }
}

/** The module's own bodies, as they have become, and those added. */
function codeSection(
  { module }: Survey,
  bodies: Iterable<Uint8Array>,
  appendix: Appendix,
): SectionChange {
  const code = new Writer(module.bytes.length)
  code.u32(module.bodies.length + appendix.bodies.length)
  for (const list of [bodies, appendix.bodies]) {
    for (const body of list) {
      code.u32(body.length)
      code.raw(body)
    }
  }
  return { replaced: code.done() }
}

function withoutNull(
  sections: Readonly<Record<number, Uint8Array | null>>,
): Record<number, Uint8Array> {
  return Object.fromEntries(
    Object.entries(sections).flatMap(([id, bytes]) => (bytes === null ? [] : [[id, bytes]])),
  )
}
