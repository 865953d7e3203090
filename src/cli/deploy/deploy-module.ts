/** The way of a module from a file to every node: check, upload, route, deploy, wait, say where it can be called. */

import {
  deploymentViewSchema,
  type DeploymentView,
  type RouteView,
  type VersionView,
} from '../../protocol/api.ts'
import type { Method } from '../../protocol/manifest.ts'
import type { ApiClient } from '../api-client.ts'
import type { Progress } from '../progress.ts'
import type { RouteText } from '../route-text.ts'
import { newRoutes, planOrNull } from './first-plan.ts'
import { passedByLines } from './passed-by.ts'
import { ensureRoutes } from './routes.ts'
import { uploadModule, type VersionFields } from './upload-module.ts'
import { callableUrls, type CallableUrl } from './urls.ts'
import { isDeployedEverywhere, waitForNodes } from './wait.ts'

export interface DeployRequest extends VersionFields {
  readonly routes: readonly RouteText[]
  readonly methods: readonly Method[]
  /** `all` or a POP selector. */
  readonly target: string
  /** Null: as `waitForNodes` says. */
  readonly timeout_ms: number | null
  /** Strategy, gates and the rest of how it goes from node to node. */
  readonly rollout: Readonly<Record<string, unknown>>
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
  const { target, rollout, name } = request
  const isChecked = rollout['check_index'] !== undefined
  // Refused here, it leaves nothing behind.
  if (isChecked) await planOrNull(client, name, { target, ...rollout })
  await newRoutes(client, name, request.routes, request.methods)
  const version = await uploadModule(client, request, progress)
  const id = version.function_id
  const ensured = () => ensureRoutes(client, id, request.routes, request.methods, progress)
  // A route changes the index, and an index read after it would hide a change of somebody else's: the check comes first.
  const before = isChecked ? null : await ensured()
  const passedBy = await passedByLines(client, target)
  const begun = await client.post(`/functions/${id}/deploy`, deploymentViewSchema, {
    version: version.version,
    target,
    ...rollout,
    message: request.message,
  })
  const routes = before ?? (await ensured())
  progress.line(`deploying to ${begun.targets.length} node${begun.targets.length === 1 ? '' : 's'}`)
  for (const line of passedBy) progress.line(line)
  const deployment = await waitForNodes(client, begun, request.timeout_ms, progress)
  const urls = await callableUrls(client, deployment, routes)
  return { deployed: isDeployedEverywhere(deployment), version, deployment, routes, urls }
}
