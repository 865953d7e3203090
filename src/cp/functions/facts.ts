/** What a module asks for and offers, and the comparison of a version with the one before it. */

import { EdgefnError } from '../../errors.ts'
import type { Compatibility } from '../../protocol/compatibility.ts'
import type { Sql } from '../db/database.ts'
import { compare, type VersionSurface } from '../../protocol/comparison.ts'
import type { InspectModule, ModuleInspection, ModuleStore } from './modules.ts'
import type { CheckedModule, ModuleFacts, StoredVersion } from './store.ts'
import { versionBefore } from './store.ts'

/** Names of exports that are kept, and characters of one; a module may have ten thousand. */
const exportsMax = 200
const exportCharsMax = 200

export interface FactsDeps {
  readonly db: Sql
  readonly modules: Pick<ModuleStore, 'open'>
  readonly inspectModule: InspectModule
}

export function factsOf({ imports, exports, memory }: ModuleInspection): ModuleFacts {
  return {
    imports: [...new Set(imports.map(({ module, name }) => `${module}.${name}`))],
    exports: exports.slice(0, exportsMax).map(({ name }) => name.slice(0, exportCharsMax)),
    memory_min: memory?.min ?? 0,
  }
}

/** The facts of a ready version; those of versions from before they were kept are read from the module itself. */
export async function storedFacts(
  deps: Pick<FactsDeps, 'modules' | 'inspectModule'>,
  stored: StoredVersion,
): Promise<ModuleFacts | null> {
  if (stored.facts !== null || stored.sha256 === null) return stored.facts
  const stream = await deps.modules.open(stored.sha256)
  if (stream === null) return null
  return factsOf(deps.inspectModule(new Uint8Array(await new Response(stream).arrayBuffer())))
}

/**
 * What the comparison of a checked module with the version before finds. Throws `incompatible_version` with every reason
 * when it refuses and the registration did not force it.
 */
export async function comparedWithBefore(
  deps: FactsDeps,
  stored: StoredVersion,
  module: CheckedModule,
): Promise<Compatibility> {
  const before = await versionBefore(deps.db, stored.function_id, stored.version)
  if (before === null || before.abi === null) return { compared_with: null, findings: [] }
  const facts = await storedFacts(deps, before)
  const after = surfaceOf(stored, module.abi, module.entrypoint, module.facts.imports)
  const findings = compare(
    // Without its module nothing can be said of what it imported.
    surfaceOf(before, before.abi, before.entrypoint, (facts ?? module.facts).imports),
    after,
  )
  const reasons = findings.filter(({ severity }) => severity === 'refuse')
  if (reasons.length > 0 && !stored.forced) {
    const told = reasons.map(({ message }) => message).join('; ')
    throw new EdgefnError(
      'incompatible_version',
      `Version ${stored.version} of ${stored.name} is not compatible with version ${before.version}: ${told}. Force it to publish it nevertheless.`,
      { details: { compared_with: before.version, findings } },
    )
  }
  return { compared_with: before.version, findings }
}

function surfaceOf(
  version: StoredVersion,
  abi: VersionSurface['abi'],
  entrypoint: string,
  imports: readonly string[],
): VersionSurface {
  const { memory_pages, max_execution_ms, quotas, env, secrets, http_allow, isolation } = version
  return {
    ...{ abi, entrypoint, imports, memory_pages, max_execution_ms, quotas, http_allow, isolation },
    variables: [...Object.keys(env), ...Object.keys(secrets)],
  }
}
