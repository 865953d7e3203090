/**
 * The rewriting of a module before the engine gets it: depth counted where it can recurse, places where it can be stopped
 * where the engine would not look by itself.
 */

import { SECTION } from '../decode.ts'
import { unsignedBytes, Writer } from '../encode.ts'
import { InstructionCursor } from '../instructions.ts'
import type { Body, WasmModule } from '../module.ts'
import { functionType } from '../module.ts'
import { OPCODE } from '../opcodes.ts'
import { Reader } from '../reader.ts'
import { Appendix, EXPORT_KIND } from './appendix.ts'
import { buildCallGraph } from './call-graph.ts'
import { DepthCounter } from './depth.ts'
import { GrowthNote } from './growth.ts'
import { planPolls } from './poll-plan.ts'
import type { PollPlan } from './poll-plan.ts'
import { POLL } from './polls.ts'
import type { FunctionProfile } from './profile.ts'
import { countLocals, profileBodies } from './profile.ts'
import type { SectionChange } from './sections.ts'
import { encodeModule } from './sections.ts'
import type { StackPlan } from './stack-plan.ts'
import { planStack } from './stack-plan.ts'
import { STOP_POINT, takesLong } from './stop-points.ts'
import { Trampolines } from './trampolines.ts'

/** The start function as an export: the host calls it itself, under its deadline and when its polls work. */
export const START_EXPORT = 'edgefn:start'
/** Memory 0 of a compiled module, whether or not the module exports it. */
export const MEMORY_EXPORT = 'edgefn:memory'

export interface CompiledModule {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Bytes of stack that the rewriting reckons with for a call, by function that the rewritten module defines. */
  readonly frames: Float64Array
  /** Whether each of those calls through a table. */
  readonly indirect: readonly boolean[]
}

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
  const rewriting = { ...survey, module, counter, growth, stopPoint: STOP_POINT, compiled: null }
  const start = exportStart(module, appendix)
  const code = rewriteCode(rewriting, appendix)
  return encodeModule(module, { ...appendix.changes(null), ...start, [SECTION.code]: code })
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
  const trampolines = new Trampolines(module, appendix, survey.referenced)
  const trampolineCount = appendix.bodies.length
  const counter = stack.counted.includes(1) ? new DepthCounter(appendix, stackBytes) : null
  const growth = noteGrowth(survey, appendix)
  const start = exportStart(module, appendix)
  appendix.export(MEMORY_EXPORT, EXPORT_KIND.memory, 0)
  const plan = planPolls(module, profiles, survey.graph, stack.counted)
  const code = rewriteCode(
    {
      ...survey,
      module,
      counter,
      growth,
      stopPoint: polls ? POLL : STOP_POINT,
      compiled: { trampolines, plan, poll: polls ? POLL : NOTHING },
    },
    appendix,
  )
  const bytes = encodeModule(module, {
    ...appendix.changes(trampolines.needed ? trampolines.globals() : null),
    [SECTION.code]: code,
    ...start,
    ...(trampolines.needed ? { [SECTION.element]: trampolines.elements() } : {}),
    ...(module.memories.length > 0 ? {} : { [SECTION.memory]: NO_PAGES }),
  })
  const added = appendix.bodies.length
  return {
    bytes,
    frames: Float64Array.from([...stack.frames, ...Array<number>(added).fill(addedFrameBytesMax)]),
    indirect: [
      ...profiles.map((profile) => profile.indirectCalls > 0),
      ...Array<boolean>(trampolineCount).fill(false),
      ...Array<boolean>(added - trampolineCount).fill(false),
    ],
  }
}

/** Stack that a function of ours may take: it makes one call at most and has no locals, but may have 1000 parameters. */
const addedFrameBytesMax = 48 * 1024

const NOTHING = new Uint8Array(0)

/** A group of one local. */
const ONE_I32 = Uint8Array.of(1, 0x7f)

/** A memory that starts with no page and stays so. */
const NO_PAGES: SectionChange = { added: 1, bytes: Uint8Array.of(1, 0, 0) }

interface Survey {
  readonly profiles: readonly FunctionProfile[]
  readonly referenced: ReadonlySet<number>
  readonly graph: ReturnType<typeof buildCallGraph>
  readonly stack: StackPlan
}

interface Rewriting extends Survey {
  readonly module: WasmModule
  /** Null when no function is counted. */
  readonly counter: DepthCounter | null
  /** Null when no function grows the memory. */
  readonly growth: GrowthNote | null
  readonly stopPoint: Uint8Array
  /** What only compiled code needs: polls in loops and at calls of heavy functions, references to trampolines. */
  readonly compiled: {
    readonly trampolines: Trampolines
    readonly plan: PollPlan
    readonly poll: Uint8Array
  } | null
}

function surveyModule(module: WasmModule, measured: ArrayLike<number> | null): Survey {
  const referenced = new Set(module.referenced)
  const profiles = profileBodies(module, referenced)
  const graph = buildCallGraph(module, profiles, referenced)
  return { profiles, referenced, graph, stack: planStack(module, profiles, graph, measured) }
}

function noteGrowth({ profiles }: Survey, appendix: Appendix): GrowthNote | null {
  return profiles.some((profile) => profile.grows) ? new GrowthNote(appendix) : null
}

function exportStart(
  { start }: WasmModule,
  appendix: Appendix,
): Readonly<Record<number, SectionChange>> {
  if (start === null) return {}
  appendix.export(START_EXPORT, EXPORT_KIND.function, start)
  return { [SECTION.start]: { replaced: null } }
}

function rewriteCode(rewriting: Rewriting, appendix: Appendix): SectionChange {
  const { module } = rewriting
  const code = new Writer(module.bytes.length)
  code.u32(module.bodies.length + appendix.bodies.length)
  for (const [at, body] of module.bodies.entries())
    writeSized(code, rewriteBody(rewriting, at, body))
  for (const body of appendix.bodies) writeSized(code, body)
  return { replaced: code.done() }
}

/** One body, its size not included. */
function rewriteBody(rewriting: Rewriting, at: number, body: Body): Uint8Array {
  const { module, profiles, stack, growth, stopPoint, compiled } = rewriting
  const profile = profiles[at]
  if (profile === undefined) throw new Error(`Body ${at} has no profile.`)
  const counted = stack.counted[module.importedFunctions + at] === 1
  const counter = counted ? rewriting.counter : null
  if (counter === null && !needsWalk(rewriting, at, profile)) {
    return module.bytes.subarray(body.start, body.end)
  }
  const frameBytes = stack.frames[at] ?? 0
  const type = functionType(module, module.importedFunctions + at)
  const reader = new Reader(module.bytes, body.code, body.end, 'a function')
  const cursor = new InstructionCursor(module, reader)
  const { declared } = countLocals(module, body)
  const saved = type.params.length + declared
  cursor.begin(type, declared)
  const out = new Writer(body.end - body.start + 64)
  if (counter === null) out.raw(module.bytes.subarray(body.start, body.code))
  else {
    writeLocals(out, module, body)
    if (compiled !== null) out.raw(compiled.poll)
    out.raw(counter.prologue(type, frameBytes, saved))
  }
  let copied = body.code
  const copyUpTo = (end: number, next: number) => {
    out.raw(module.bytes.subarray(copied, end))
    copied = next
  }
  while (cursor.next()) {
    const { opcode } = cursor
    if (takesLong(opcode) || (compiled?.plan.heavy[at] === 1 && isCall(opcode))) {
      copyUpTo(cursor.start, cursor.start)
      out.raw(stopPoint)
      if (growth !== null && opcode === OPCODE.memoryGrow) {
        copyUpTo(reader.at, reader.at)
        out.raw(growth.note)
      }
    } else if (counter !== null && opcode === OPCODE.return) {
      // The bytes are given back at the end only, so it must be passed: a branch to the outermost block leads there.
      copyUpTo(cursor.start, reader.at)
      out.u8(OPCODE.branch)
      out.raw(unsignedBytes(cursor.depth))
    } else if (compiled !== null && opcode === OPCODE.loop) {
      copyUpTo(reader.at, reader.at)
      out.raw(compiled.poll)
    } else if (compiled !== null && opcode === OPCODE.refFunc) {
      copyUpTo(cursor.start, reader.at)
      out.raw(compiled.trampolines.reference(cursor.immediate))
    }
  }
  copyUpTo(body.end, body.end)
  if (counter !== null) {
    const long = compiled === null || compiled.plan.slowReturn[at] === 1
    out.raw(counter.epilogue(saved, long ? stopPoint : NOTHING))
  }
  return out.done()
}

/** The locals of a body, and one more i32. */
function writeLocals(out: Writer, module: WasmModule, body: Body): void {
  const reader = new Reader(module.bytes, body.start, body.code, 'locals')
  out.u32(reader.u32() + 1)
  out.raw(module.bytes.subarray(reader.at, body.code))
  out.raw(ONE_I32)
}

function needsWalk({ compiled }: Rewriting, at: number, profile: FunctionProfile): boolean {
  if (profile.long) return true
  if (compiled === null) return false
  const refers = profile.refers && compiled.trampolines.needed
  return profile.loops || refers || compiled.plan.heavy[at] === 1
}

function isCall(opcode: number): boolean {
  return opcode === OPCODE.call || opcode === OPCODE.callIndirect
}

function writeSized(out: Writer, bytes: Uint8Array): void {
  out.u32(bytes.length)
  out.raw(bytes)
}
