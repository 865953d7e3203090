/** The way of a module from a file to every node: check, upload, route, deploy, wait, say where it can be called. */

import {
  deploymentViewSchema,
  type DeploymentView,
  type RouteView,
  type VersionView,
} from '../../protocol/api.ts'
import type { Abi, Isolation, Method, Quotas } from '../../protocol/manifest.ts'
import type { ApiClient } from '../api-client.ts'
import type { Progress } from '../progress.ts'
import type { RouteText } from '../route-text.ts'
import { checkModule, memoryPagesFor, readModule } from './module-file.ts'
import { publishVersion } from './publish.ts'
import { ensureRoutes } from './routes.ts'
import { callableUrls, type CallableUrl } from './urls.ts'
import { isDeployedEverywhere, waitForNodes } from './wait.ts'

export interface DeployRequest {
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
  /** Patterns of hosts that `http_fetch` may reach. */
  readonly http_allow: readonly string[]
  readonly isolation: Isolation
  readonly message: string
  readonly routes: readonly RouteText[]
  readonly methods: readonly Method[]
  /** `all` or a POP selector. */
  readonly target: string
  readonly timeout_ms: number
}

export interface DeployResult {
  /** Every node serves the version. */
  readonly deployed: boolean
  readonly version: VersionView
  readonly deployment: DeploymentView
  /** All routes of the function, those from before too. */
  readonly routes: readonly RouteView[]
  readonly urls: readonly CallableUrl[]
}

/** Throws as reading, checking and the API do; a node that fails is not an error but `deployed: false`. */
export async function deployModule(
  client: ApiClient,
  request: DeployRequest,
  progress: Progress,
): Promise<DeployResult> {
  const bytes = readModule(request.file)
  const inspection = await checkModule(request.file, bytes, request)
  const { name, abi, entrypoint, message, env, http_allow, isolation, quotas } = request
  const { max_execution_ms } = request
  const registration = {
    ...{ name, abi, entrypoint, message, env, http_allow, isolation, quotas },
    memory_pages: request.memory_pages ?? memoryPagesFor(inspection),
    ...(max_execution_ms === null ? {} : { max_execution_ms }),
  }
  const version = await publishVersion(client, registration, bytes, progress)
  const id = version.function_id
  const routes = await ensureRoutes(client, id, request.routes, request.methods, progress)
  const begun = await client.post(`/functions/${id}/deploy`, deploymentViewSchema, {
    version: version.version,
    target: request.target,
    message,
  })
  progress.line(`deploying to ${begun.targets.length} node${begun.targets.length === 1 ? '' : 's'}`)
  const deployment = await waitForNodes(client, begun, request.timeout_ms, progress)
  const urls = await callableUrls(client, deployment, routes)
  return { deployed: isDeployedEverywhere(deployment), version, deployment, routes, urls }
}
