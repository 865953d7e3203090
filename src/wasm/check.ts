/** Inspecting a module for people, and checking one for ingest: what it is, what is wrong with it, what is stored of it. */

import { EdgefnError } from '../errors.ts'
import type { ModuleAbi } from './abi.ts'
import { DEFAULT_ENTRYPOINT, detectAbi } from './abi.ts'
import { decodeInto } from './decode.ts'
import { importProblems } from './import-rules.ts'
import { MODULE_LIMITS } from './limits.ts'
import type { CustomSection, ExternKind, WasmModule } from './module.ts'
import { emptyModule } from './module.ts'
import { normaliseModule } from './normalise.ts'
import type { Problem } from './problem.ts'
import { quoted, unsupported } from './problem.ts'
import { externSignature } from './signature.ts'

/** Problems that are told; a hostile module could have a thousand. */
const problemsMax = 20
/** Exports that the edge adds when it rewrites a module begin so. */
const RESERVED_PREFIX = 'edgefn:'

export interface InspectedImport {
  readonly module: string
  readonly name: string
  readonly kind: ExternKind
  /** Such as `(i32, i64) -> i32`. */
  readonly type: string
}

export interface InspectedExport {
  readonly name: string
  readonly kind: ExternKind
  readonly type: string
}

/** All that `edgefn inspect` and the ingest tell of a module. What a broken module did not get to say is empty. */
export interface Inspection {
  readonly abi: ModuleAbi | null
  /** The export that answers; null where there is no ABI. */
  readonly entrypoint: string | null
  readonly imports: readonly InspectedImport[]
  readonly exports: readonly InspectedExport[]
  /** In pages of 64 KiB; null where there is none. */
  readonly memory: {
    readonly min: number
    readonly max: number | null
    readonly imported: boolean
  } | null
  /** Functions that the module defines. */
  readonly functions: number
  readonly size_bytes: number
  readonly custom_sections: readonly CustomSection[]
  /** Whether it has a start function. */
  readonly start: boolean
  /** Why it would be refused; empty when it would be taken. */
  readonly problems: readonly Problem[]
}

export interface InspectSettings {
  /** Name of the exported function that answers, where the ABI leaves it open. */
  readonly entrypoint?: string
  /** The ABI that the module must speak; null or absent: the one it is found to. */
  readonly abi?: ModuleAbi | null
  /** Page limit of the function, in pages of 64 KiB; without it the declared minimum is not held to anything. */
  readonly memory_pages?: number
}

/** What a module is checked against before it is stored. */
export interface CheckSettings extends InspectSettings {
  readonly entrypoint: string
  readonly memory_pages: number
}

/** What ingest keeps of a module. */
export interface CheckedModule {
  /** The bytes to store and serve. */
  readonly normalised: Uint8Array<ArrayBuffer>
  readonly abi: ModuleAbi
  /** The export that answers. */
  readonly entrypoint: string
  /** Of the bytes as they came. */
  readonly inspection: Inspection
}

/** Looks at any bytes at all. Never throws for what is in them: what is wrong is in `problems`. */
export function inspectModule(bytes: Uint8Array, settings: InspectSettings = {}): Inspection {
  return inspect(emptyModule(bytes), settings)
}

/**
 * Checks a module for ingest [R1.3 P2] and gives the form of it that is stored. Stack types inside function bodies are not
 * checked here: `validate.ts` does that, and the engine again on the node before anything of it runs.
 * Throws EdgefnError `module_invalid` or `module_unsupported`; `details.problems` has all that was found.
 */
export function checkModule(bytes: Uint8Array, settings: CheckSettings): CheckedModule {
  const module = emptyModule(bytes)
  const inspection = inspect(module, settings)
  const { abi, entrypoint, problems } = inspection
  if (problems.length > 0 || abi === null || entrypoint === null) throw refusal(problems)
  const normalised = normaliseModule(module)
  if (normalised.length > MODULE_LIMITS.moduleBytesMax) {
    throw unsupported(
      `The normalised module has ${normalised.length} bytes; the limit is ${MODULE_LIMITS.moduleBytesMax}.`,
    )
  }
  return { normalised, abi, entrypoint, inspection }
}

function refusal(problems: readonly Problem[]): EdgefnError {
  const invalid = problems.some((problem) => problem.code === 'module_invalid')
  const told = problems.slice(0, 3).map((problem) => problem.message)
  if (problems.length > told.length)
    told.push(`There are ${problems.length - told.length} more problems.`)
  return new EdgefnError(invalid ? 'module_invalid' : 'module_unsupported', told.join(' '), {
    details: { problems },
  })
}

function inspect(module: WasmModule, settings: InspectSettings): Inspection {
  const broken = decodeProblem(module)
  // A module that could not be read to its end may have what seems missing, so only one of the two is told.
  const { abi, entrypoint, problems } =
    broken === null
      ? ruleProblems(module, settings)
      : { abi: null, entrypoint: null, problems: [broken] }
  const memory = module.memories[0]
  return {
    abi,
    entrypoint: abi === null ? null : entrypoint,
    imports: module.imports.map(({ module: from, name, kind, index }) => ({
      module: from,
      name,
      kind,
      type: externSignature(module, kind, index),
    })),
    exports: module.exports.map(({ name, kind, index }) => ({
      name,
      kind,
      type: externSignature(module, kind, index),
    })),
    memory:
      memory === undefined
        ? null
        : { min: memory.min, max: memory.max, imported: importsMemory(module) },
    functions: module.functions.length - module.importedFunctions,
    size_bytes: module.bytes.length,
    custom_sections: module.customSections,
    start: module.start !== null,
    problems: problems.slice(0, problemsMax),
  }
}

function importsMemory(module: WasmModule): boolean {
  return module.imports.some((each) => each.kind === 'memory')
}

function decodeProblem(module: WasmModule): Problem | null {
  try {
    decodeInto(module)
    return null
  } catch (error) {
    if (!(error instanceof EdgefnError)) throw error
    const code = error.code === 'module_invalid' ? 'module_invalid' : 'module_unsupported'
    return { code, message: error.message }
  }
}

/** What a well-formed module breaks of edgefn's own rules. */
function ruleProblems(
  module: WasmModule,
  settings: InspectSettings,
): { abi: ModuleAbi | null; entrypoint: string; problems: Problem[] } {
  const { abi, entrypoint, problems } = detectAbi(
    module,
    settings.entrypoint ?? DEFAULT_ENTRYPOINT,
    settings.abi,
  )
  const pages = module.memories[0]?.min ?? 0
  const limit = settings.memory_pages ?? Infinity
  const memory: Problem[] =
    pages <= limit
      ? []
      : [
          {
            code: 'module_unsupported',
            message: `Module needs at least ${pages} memory pages, memory_pages is ${limit}`,
          },
        ]
  const reserved = module.exports
    .filter(({ name }) => name.startsWith(RESERVED_PREFIX))
    .map(({ name }) => ({
      code: 'module_unsupported' as const,
      message: `The export ${quoted(name)} has a name that edgefn keeps for itself.`,
    }))
  return {
    abi,
    entrypoint,
    problems: [...importProblems(module), ...problems, ...memory, ...reserved],
  }
}
