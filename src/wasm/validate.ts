/** Validation of the types inside function bodies, which `check.ts` does not follow, by this program's own engine. */

import { errorMessage } from '../errors.ts'
import type { CheckedModule, CheckSettings, Inspection, InspectSettings } from './check.ts'
import { checkModule, inspectModule } from './check.ts'
import type { Problem } from './problem.ts'
import { invalid } from './problem.ts'

/**
 * Validates a module that `check.ts` has passed, with the engine of this runtime (JavaScriptCore, which accepts all that
 * edgefn's checks allow). Off the main thread; 14 MB take a third of a second. Null when it is valid. Not for edge
 * workers: there no other engine than libwasmedge may run (DESIGN section 3).
 */
export async function validateTypes(bytes: Uint8Array<ArrayBuffer>): Promise<Problem | null> {
  try {
    await WebAssembly.compile(bytes)
    return null
  } catch (thrown) {
    const reason = errorMessage(thrown).replace(
      /^WebAssembly\.Module doesn't (?:validate|parse)[^:]*: /,
      '',
    )
    return { code: 'module_invalid', message: `The module is not valid: ${reason}.` }
  }
}

/** `checkModule` and then `validateTypes`: all that ingest asks of a module. Throws EdgefnError as `checkModule` does. */
export async function checkWholeModule(
  bytes: Uint8Array,
  settings: CheckSettings,
): Promise<CheckedModule> {
  const checked = checkModule(bytes, settings)
  const problem = await validateTypes(checked.normalised)
  if (problem !== null) throw invalid(problem.message)
  return checked
}

/** `inspectModule`, with what `validateTypes` finds among the problems. */
export async function inspectWholeModule(
  bytes: Uint8Array<ArrayBuffer>,
  settings: InspectSettings = {},
): Promise<Inspection> {
  const inspection = inspectModule(bytes, settings)
  if (inspection.problems.length > 0) return inspection
  const problem = await validateTypes(bytes)
  return problem === null ? inspection : { ...inspection, problems: [problem] }
}
