/** Which of the guest ABIs of DESIGN section 6 a module speaks, and what it lacks for each when it speaks none. */

import { EXTISM_MODULE, EXTISM_OLD_PREFIX } from './extism-imports.ts'
import type { WasmModule } from './module.ts'
import type { Problem } from './problem.ts'
import { quoted } from './problem.ts'
import { externSignature, signature } from './signature.ts'

export const MODULE_ABIS = ['edgefn', 'wagi', 'wws', 'spin', 'extism'] as const
export type ModuleAbi = (typeof MODULE_ABIS)[number]

export interface AbiFinding {
  readonly abi: ModuleAbi | null
  /** The export that answers: as given, or found where the ABI looks for it. */
  readonly entrypoint: string
  readonly problems: readonly Problem[]
}

/** The entrypoint that a function has when none is given; ABIs with a fixed or a searched one take it for "not given". */
export const DEFAULT_ENTRYPOINT = 'handle'
/** The export that Spin 1.x modules answer with. */
export const SPIN_ENTRYPOINT = 'handle-http-request'

const ENTRYPOINT_TYPE = signature(Array(10).fill('i32'), ['i32'])
const ALLOC_TYPE = signature(['i32'], ['i32'])
const REALLOC_TYPE = signature(Array(4).fill('i32'), ['i32'])
const COMMAND_TYPE = signature([], [])
const PLUGIN_TYPE = signature([], ['i32'])

/** What edgefn calls the ABIs in messages. */
const TITLES: Readonly<Record<ModuleAbi, string>> = {
  edgefn: 'edgefn',
  wagi: 'WAGI (a WASI command)',
  wws: 'Wasm Workers Server (a WASI command)',
  spin: 'Spin 1.x',
  extism: 'Extism',
}

/** What a module lacks for an ABI, as parts of a sentence; empty when it speaks it. */
const LACKS: Readonly<Record<ModuleAbi, (module: WasmModule, entrypoint: string) => string[]>> = {
  edgefn: (module, entrypoint) =>
    known([
      lacksMemory(module),
      lacksFunction(module, entrypoint, ENTRYPOINT_TYPE),
      lacksFunction(module, 'alloc', ALLOC_TYPE),
      lacksInitialiser(module),
    ]),
  wagi: (module, entrypoint) =>
    known([
      lacksMemory(module),
      lacksFunction(module, commandEntrypoint(entrypoint), COMMAND_TYPE),
    ]),
  wws: (module) => known([lacksMemory(module), lacksFunction(module, '_start', COMMAND_TYPE)]),
  spin: (module) =>
    known([
      lacksMemory(module),
      lacksFunction(module, SPIN_ENTRYPOINT, ENTRYPOINT_TYPE),
      lacksFunction(module, 'canonical_abi_realloc', REALLOC_TYPE),
      lacksInitialiser(module),
    ]),
  extism: (module, entrypoint) => known([lacksMemory(module), lacksPlugin(module, entrypoint)]),
}

/**
 * The ABI of a module: `asked` where that is given, else the one that it shows signs of (`signsOf`), else edgefn, else
 * WAGI. A module that does not fit gets a problem saying why.
 */
export function detectAbi(
  module: WasmModule,
  entrypoint: string,
  asked: ModuleAbi | null = null,
): AbiFinding {
  const only = asked ?? signOf(module)
  const candidates: readonly ModuleAbi[] = only === null ? ['edgefn', 'wagi'] : [only]
  const findings = candidates.map((abi) => ({ abi, lacks: LACKS[abi](module, entrypoint) }))
  const fitting = findings.find(({ lacks }) => lacks.length === 0)
  if (fitting !== undefined) {
    const { abi } = fitting
    return { abi, entrypoint: entrypointOf(module, abi, entrypoint), problems: [] }
  }
  const reasons = findings.map(({ abi, lacks }) => `For ${TITLES[abi]}: ${lacks.join('; ')}.`)
  const message = `The module speaks no ABI that edgefn knows. ${reasons.join(' ')}`
  return { abi: null, entrypoint, problems: [{ code: 'module_unsupported', message }] }
}

/** What only modules of one ABI import or export. */
function signOf(module: WasmModule): ModuleAbi | null {
  const imports = (of: string, prefix = '') =>
    module.imports.some((each) => each.module === of && each.name.startsWith(prefix))
  if (imports(EXTISM_MODULE) || imports('env', EXTISM_OLD_PREFIX)) return 'extism'
  if (exported(module, SPIN_ENTRYPOINT)) return 'spin'
  if (imports('http', 'send-http-request')) return 'wws'
  return null
}

/** The export that a WASI command starts at: `_start` unless another is named, as WAGI's `entrypoint` does. */
function commandEntrypoint(entrypoint: string): string {
  return entrypoint === DEFAULT_ENTRYPOINT ? '_start' : entrypoint
}

function entrypointOf(module: WasmModule, abi: ModuleAbi, given: string): string {
  switch (abi) {
    case 'edgefn':
      return given
    case 'wagi':
      return commandEntrypoint(given)
    case 'wws':
      return '_start'
    case 'spin':
      return SPIN_ENTRYPOINT
    case 'extism':
      return pluginEntrypoint(module, given) ?? given
  }
}

/** Exports of a plug-in that are of an entrypoint's type and are none; what begins with two underscores is a toolchain's. */
const PLUGIN_INITIALISERS = ['_initialize', '_start', 'main']

/**
 * The export that a plug-in answers with: `entrypoint` where the module has it, else, when none was given, the only one
 * of an entrypoint's type; null where there are none or several.
 */
function pluginEntrypoint(module: WasmModule, entrypoint: string): string | null {
  const names = pluginFunctions(module)
  if (names.includes(entrypoint)) return entrypoint
  const [only, another] = names
  if (only === undefined || another !== undefined || entrypoint !== DEFAULT_ENTRYPOINT) return null
  return only
}

function pluginFunctions(module: WasmModule): string[] {
  return module.exports
    .filter(({ kind, index }) => kind === 'function' && typeOf(module, index) === PLUGIN_TYPE)
    .map(({ name }) => name)
    .filter((name) => !name.startsWith('__') && !PLUGIN_INITIALISERS.includes(name))
}

function lacksPlugin(module: WasmModule, entrypoint: string): string | null {
  if (pluginEntrypoint(module, entrypoint) !== null) return null
  if (entrypoint !== DEFAULT_ENTRYPOINT || exported(module, entrypoint)) {
    return lacksFunction(module, entrypoint, PLUGIN_TYPE)
  }
  const names = pluginFunctions(module)
  const found = names.length === 0 ? 'none' : names.slice(0, 10).map(quoted).join(', ')
  return `it needs one export of type ${PLUGIN_TYPE}, or an entrypoint that says which of them answers; it has ${found}`
}

/** What runs once per instance may be absent but not of another type; it is the first that is there of these two. */
function lacksInitialiser(module: WasmModule): string | null {
  const name = ['_initialize', '_start'].find((each) => exported(module, each))
  return name === undefined ? null : lacksFunction(module, name, COMMAND_TYPE)
}

function known(lacks: readonly (string | null)[]): string[] {
  return lacks.filter((lack) => lack !== null)
}

function exported(module: WasmModule, name: string): boolean {
  return module.exports.some((each) => each.name === name)
}

function typeOf(module: WasmModule, functionIndex: number): string {
  return externSignature(module, 'function', functionIndex)
}

function lacksMemory(module: WasmModule): string | null {
  const found = module.exports.find((each) => each.name === 'memory')
  if (found === undefined) return 'it needs to export its memory as "memory"'
  if (found.kind !== 'memory')
    return `it exports "memory" as a ${found.kind}, which must be its memory`
  return null
}

function lacksFunction(module: WasmModule, name: string, needed: string): string | null {
  const found = module.exports.find((each) => each.name === name)
  if (found === undefined) return `it needs to export ${quoted(name)} with type ${needed}`
  if (found.kind !== 'function') {
    return `it exports ${quoted(name)} as a ${found.kind}, which must be a function of type ${needed}`
  }
  const given = typeOf(module, found.index)
  if (given === needed) return null
  return `it exports ${quoted(name)} with type ${given}, needed is ${needed}`
}
