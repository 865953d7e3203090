/** A deployment by its id, or the newest one of a function. */

import { EdgefnError } from '../../errors.ts'
import { deploymentViewSchema, pageSchema, type DeploymentView } from '../../protocol/api.ts'
import { uuidSchema } from '../../protocol/ids.ts'
import type { ApiClient } from '../api-client.ts'
import type { Argument } from '../command.ts'

export const DEPLOYMENT_ARGUMENT: Argument = {
  name: 'NAME|ID',
  help: 'a function, whose newest deployment is meant, or the id of a deployment',
  count: 'one',
}

/** Throws `deployment_not_found` for a function that was never deployed. */
export async function findDeployment(client: ApiClient, nameOrId: string): Promise<DeploymentView> {
  if (uuidSchema.safeParse(nameOrId).success) {
    return client.get(`/deployments/${nameOrId}`, deploymentViewSchema)
  }
  const query = { function: nameOrId, limit: 1 }
  const { items } = await client.get('/deployments', pageSchema(deploymentViewSchema), query)
  const [newest] = items
  if (newest !== undefined) return newest
  throw new EdgefnError('deployment_not_found', `${nameOrId} has never been deployed.`)
}
