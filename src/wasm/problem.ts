/** How `wasm/` says no: the two codes a module can be refused with, and the words of each refusal. */

import { EdgefnError } from '../errors.ts'

/** Why a module is refused: not WebAssembly, or WebAssembly that asks for what edgefn does not give. */
export interface Problem {
  readonly code: 'module_invalid' | 'module_unsupported'
  readonly message: string
}

/** The bytes break a rule of the WebAssembly specification. */
export function invalid(message: string): EdgefnError {
  return new EdgefnError('module_invalid', message)
}

/** The bytes may be a valid module, but not one that edgefn runs. */
export function unsupported(message: string): EdgefnError {
  return new EdgefnError('module_unsupported', message)
}

/** The module needs a WebAssembly proposal that edgefn switches off in the engine (DESIGN section 4). */
export function proposal(name: string, evidence: string): EdgefnError {
  return unsupported(
    `The module uses the ${name} proposal, which edgefn leaves off (${evidence}); build it without that feature.`,
  )
}

/** Refuses with both numbers when `count` is over `limit`; `what` is the plural noun of the sentence. */
export function atMost(count: number, limit: number, what: string): void {
  if (count > limit) throw unsupported(`The module has ${count} ${what}; the limit is ${limit}.`)
}

/** A name out of the module, made safe to print: quoted, escaped and cut to a length that fits a sentence. */
export function quoted(name: string): string {
  const shown = name.length > 80 ? `${name.slice(0, 80)}…` : name
  return JSON.stringify(shown)
}

/** A number as WebAssembly tools print opcodes and offsets: `0xfd`. */
export function hex(value: number): string {
  return `0x${value.toString(16).padStart(2, '0')}`
}
