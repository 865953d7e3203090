/** A module file as the commands read it: its bytes, and what edgefn thinks of them. */

import { readFileSync } from 'node:fs'
import { basename } from 'node:path'

import { EdgefnError, errorMessage } from '../../errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Abi } from '../../protocol/manifest.ts'
import type { Inspection } from '../../wasm/check.ts'
import { inspectWholeModule } from '../../wasm/validate.ts'

/** The bytes of a file. Throws `invalid_config` when it cannot be read. */
export function readModule(file: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(file))
  } catch (error) {
    throw new EdgefnError('invalid_config', `${file}: cannot be read: ${errorMessage(error)}.`)
  }
}

/** Refuses at once what the control plane would refuse after the upload. Throws with the first code and all reasons. */
export async function checkModule(
  file: string,
  bytes: Uint8Array<ArrayBuffer>,
  { entrypoint, abi }: { readonly entrypoint: string; readonly abi: Abi | null },
): Promise<Inspection> {
  const settings = { entrypoint, abi, memory_pages: LIMITS.memoryPagesMax }
  const inspection = await inspectWholeModule(bytes, settings)
  const [first] = inspection.problems
  if (first !== undefined) {
    const reasons = inspection.problems.map((problem) => `\n  ${problem.message}`).join('')
    throw new EdgefnError(first.code, `${file} would be refused:${reasons}`)
  }
  return inspection
}

/** Go's linker leaves it in every module. */
const GO_SECTION = 'go:buildid'

/**
 * The page limit of a module whose limit was not given: the default, or twice what the module starts with where that is
 * more, since toolchains declare what their data and stack take and leave the heap to growth. Go gets all there is: its
 * heap grows by 64 pages at once, so that the smallest program needs 128 to start.
 */
export function memoryPagesFor(inspection: Inspection): number {
  const isGo = inspection.custom_sections.some((section) => section.name === GO_SECTION)
  if (isGo) return LIMITS.memoryPagesMax
  const doubled = 2 * (inspection.memory?.min ?? 0)
  return Math.min(Math.max(LIMITS.memoryPagesDefault, doubled), LIMITS.memoryPagesMax)
}

/** A function name made of a file name: `My_Echo.wasm` is `my-echo`. Throws `invalid_config` when nothing is left of it. */
export function functionNameOf(file: string): string {
  const name = basename(file)
    .replace(/\.wasm$/i, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replaceAll(/^-+|-+$/g, '')
  if (name !== '') return name
  throw new EdgefnError('invalid_config', `${file}: gives no name for a function; rename the file.`)
}
