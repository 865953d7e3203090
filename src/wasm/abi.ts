/** Which of the guest ABIs of DESIGN section 6 a module speaks, and what it lacks for each when it speaks none. */

import type { WasmModule } from './module.ts'
import type { Problem } from './problem.ts'
import { quoted } from './problem.ts'
import { externSignature, signature } from './signature.ts'

export type ModuleAbi = 'edgefn' | 'wagi'

export interface AbiFinding {
  readonly abi: ModuleAbi | null
  readonly problems: readonly Problem[]
}

const ENTRYPOINT_TYPE = signature(Array(10).fill('i32'), ['i32'])
const ALLOC_TYPE = signature(['i32'], ['i32'])
const COMMAND_TYPE = signature([], [])

/** Detects the ABI; a module that fits both is `edgefn`, and one that fits neither gets a problem saying why. */
export function detectAbi(module: WasmModule, entrypoint: string): AbiFinding {
  const memory = lacksMemory(module)
  const edgefn = [
    memory,
    lacksFunction(module, entrypoint, ENTRYPOINT_TYPE),
    lacksFunction(module, 'alloc', ALLOC_TYPE),
    lacksInitialiser(module),
  ].filter((lack) => lack !== null)
  if (edgefn.length === 0) return { abi: 'edgefn', problems: [] }
  const wagi = [memory, lacksFunction(module, '_start', COMMAND_TYPE)].filter(
    (lack) => lack !== null,
  )
  if (wagi.length === 0) return { abi: 'wagi', problems: [] }
  const message =
    `The module speaks no ABI that edgefn knows. For edgefn: ${edgefn.join('; ')}. ` +
    `For WAGI (a WASI command): ${wagi.join('; ')}.`
  return { abi: null, problems: [{ code: 'module_unsupported', message }] }
}

/** What runs once per instance may be absent but not of another type; it is the first that is there of these two. */
function lacksInitialiser(module: WasmModule): string | null {
  const name = ['_initialize', '_start'].find((each) => exported(module, each))
  return name === undefined ? null : lacksFunction(module, name, COMMAND_TYPE)
}

function exported(module: WasmModule, name: string): boolean {
  return module.exports.some((each) => each.name === name)
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
  const given = externSignature(module, 'function', found.index)
  if (given === needed) return null
  return `it exports ${quoted(name)} with type ${given}, needed is ${needed}`
}
