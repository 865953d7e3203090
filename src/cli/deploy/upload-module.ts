/** From a file to a ready version: checked here, uploaded, checked and kept there. Nothing of it runs yet. */

import { functionDetailSchema, type VersionView } from '../../protocol/api.ts'
import type { Abi, Isolation, Quotas } from '../../protocol/manifest.ts'
import { ControlPlaneError, type ApiClient } from '../api-client.ts'
import type { Progress } from '../progress.ts'
import { findingLines } from './finding-lines.ts'
import { checkModule, memoryPagesFor, readModule } from './module-file.ts'
import { publishVersion } from './publish.ts'

export interface VersionFields {
  readonly file: string
  readonly name: string
  /** Null: the one that the module is found to speak. */
  readonly abi: Abi | null
  readonly entrypoint: string
  /** Null: from what the module declares. */
  readonly memory_pages: number | null
  /** Null: the control plane's default. */
  readonly max_execution_ms: number | null
  readonly quotas: Quotas
  readonly env: Readonly<Record<string, string>>
  /** Variables whose values are secrets, as `NAME` or `NAME@NUMBER`. */
  readonly secrets: Readonly<Record<string, string>>
  /** Patterns of hosts that `http_fetch` may reach. */
  readonly http_allow: readonly string[]
  readonly isolation: Isolation
  readonly message: string
  /** Taken although it is not compatible with the version before. */
  readonly force: boolean
}

/** Throws as reading, checking and the API do. What the comparison with the version before warns of is told. */
export async function uploadModule(
  client: ApiClient,
  request: VersionFields,
  progress: Progress,
): Promise<VersionView> {
  const bytes = readModule(request.file)
  const inspection = await checkModule(request.file, bytes, request)
  const { name, abi, entrypoint, message, env, secrets, http_allow, isolation, quotas, force } =
    request
  const { max_execution_ms } = request
  const registration = {
    ...{ name, abi, entrypoint, message, env, secrets, http_allow, isolation, quotas, force },
    memory_pages:
      request.memory_pages ?? (await pagesFor(client, name, memoryPagesFor(inspection))),
    ...(max_execution_ms === null ? {} : { max_execution_ms }),
  }
  const version = await publishVersion(client, registration, bytes, progress)
  const found = version.compatibility
  if (found !== null) for (const line of findingLines(found)) progress.line(line)
  return version
}

/** A limit that nobody asked for is no less than that of the version before: less would be refused. */
async function pagesFor(client: ApiClient, name: string, pages: number): Promise<number> {
  try {
    const found = await client.get(`/functions/${name}`, functionDetailSchema)
    return Math.max(pages, found.latest?.memory_pages ?? 0)
  } catch (error) {
    if (error instanceof ControlPlaneError && error.status === 404) return pages
    throw error
  }
}
