/** Whether the host can give what a module imports: functions of the host table with their exact types, nothing else. */

import { HOST_IMPORTS, hostImport } from './host-imports.ts'
import type { Import, WasmModule } from './module.ts'
import type { Problem } from './problem.ts'
import { quoted } from './problem.ts'
import { needsResultMemory, REALLOC_EXPORT } from './rewrite/result-memory.ts'
import { externSignature, signature } from './signature.ts'

/** Import modules that tell which toolchain setting was missed, and what to do about it. */
const ADVICE: ReadonlyMap<string, string> = new Map([
  ['wasi_unstable', 'it is the WASI of before preview 1; rebuild for wasi_snapshot_preview1'],
  ['gojs', 'it is made for browsers; build it with GOOS=wasip1 GOARCH=wasm'],
  ['go', 'it is made for browsers; build it with GOOS=wasip1 GOARCH=wasm'],
  ['wbg', 'it is made for browsers by wasm-bindgen; build it with --target wasm32-wasip1'],
  [
    '__wbindgen_placeholder__',
    'it is made for browsers by wasm-bindgen; build it with --target wasm32-wasip1',
  ],
])

/** Import modules that guests of every ABI may use. */
const OWN_MODULES = 'wasi_snapshot_preview1, edgefn, env'

/** One problem per import that cannot be had, in the order of the imports. */
export function importProblems(module: WasmModule): Problem[] {
  return module.imports.flatMap((each) => {
    const message = importProblem(module, each) ?? allocatorProblem(module, each)
    return message === null ? [] : [{ code: 'module_unsupported', message }]
  })
}

/** Some host functions answer in memory that only the guest's allocator can give (`rewrite/result-memory.ts`). */
function allocatorProblem(module: WasmModule, each: Import): string | null {
  if (!needsResultMemory(each.module, each.name)) return null
  const realloc = module.exports.find(({ name }) => name === REALLOC_EXPORT)
  const needed = signature(Array(4).fill('i32'), ['i32'])
  if (
    realloc?.kind === 'function' &&
    externSignature(module, 'function', realloc.index) === needed
  ) {
    return null
  }
  const label = `${quoted(each.module)} ${quoted(each.name)}`
  return `The module imports ${label}, for which it needs to export ${quoted(REALLOC_EXPORT)} with type ${needed}.`
}

function importProblem(module: WasmModule, each: Import): string | null {
  const label = `${quoted(each.module)} ${quoted(each.name)}`
  if (each.kind !== 'function') {
    return `The module imports the ${each.kind} ${label}; only functions can be imported, so it must define its own ${each.kind}.`
  }
  const known = hostImport(each.module, each.name)
  if (known === undefined) return unknownImport(each, label)
  const given = externSignature(module, 'function', each.index)
  const needed = signature(known.params, known.results)
  if (given === needed) return null
  return `The module imports ${label} with type ${given}; its type is ${needed}.`
}

function unknownImport(each: Import, label: string): string {
  const advice = ADVICE.get(each.module)
  if (advice !== undefined) return `The module imports ${label}: ${advice}.`
  const names = HOST_IMPORTS.filter((host) => host.module === each.module).map((host) => host.name)
  if (names.length === 0) {
    return `The module imports ${label}; there is no such import module, only ${OWN_MODULES} and those of other ABIs.`
  }
  const offer =
    each.module === 'wasi_snapshot_preview1' ? 'the preview 1 functions' : names.join(', ')
  return `The module imports ${label}, which does not exist; ${quoted(each.module)} has ${offer}.`
}
