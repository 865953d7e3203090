/**
 * Which modules may run in the inline lane (DESIGN section 2): those that import nothing that waits for others, and nothing whose
 * effect outlives the call. A call there that takes too long is stopped and run again elsewhere, and nobody may notice.
 */

import { EXTISM_MODULE, EXTISM_OLD_PREFIX } from '../../../wasm/extism-imports.ts'
import type { WasmModule } from '../../../wasm/module.ts'

/** Of the module `edgefn`; the others keep, count or fetch. */
const EDGEFN_NAMES: ReadonlySet<string> = new Set([
  'log',
  'request_id',
  'request_header',
  'env_get',
  'response_head',
  'response_write',
])
const EXTISM_FETCH = 'http_request'

function mayBeImported(module: string, name: string): boolean {
  switch (module) {
    case 'edgefn':
      return EDGEFN_NAMES.has(name)
    case 'wasi_snapshot_preview1':
      // Most programs could sleep, and few do: those are run again elsewhere (`Host.maySleep`).
      return true
    case 'env':
      return name !== EXTISM_OLD_PREFIX + EXTISM_FETCH
    case EXTISM_MODULE:
      return name !== EXTISM_FETCH
    default:
      return false
  }
}

export function mayRunInline(module: WasmModule): boolean {
  return module.imports.every(({ module: from, name }) => mayBeImported(from, name))
}
