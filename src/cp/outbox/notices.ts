/** What slices call when a change must reach nodes; the implementation is `outbox/store.ts`. */

import type { DeploymentId, FunctionId, NodeId } from '../../protocol/ids.ts'
import type { Manifest, Route } from '../../protocol/manifest.ts'
import type { Sql, Transaction } from '../db/database.ts'

export interface NoticeRequest {
  readonly node_ids: readonly NodeId[]
  readonly revision: number
  readonly type: 'deploy' | 'routes' | 'undeploy'
  /** Null for `routes`, which are about no function. */
  readonly function_id: FunctionId | null
  readonly deployment_id: DeploymentId | null
}

/**
 * Stores one notice per node and sets the nodes' desired_revision, inside the transaction of the change (DESIGN
 * section 7). The relay pushes them after the commit; it fills in the payload then, so URLs are fresh.
 */
export type EnqueueNotices = (tx: Transaction, request: NoticeRequest) => Promise<void>

/** Takes the next revision: greater than every one before, inside the transaction that uses it. */
export type NextRevision = (tx: Transaction) => Promise<number>

/** What a deploy notice says besides its revision; null when another deployment has taken the function over on the node. */
export type DeployContent = (
  sql: Sql,
  nodeId: NodeId,
  functionId: FunctionId,
  deploymentId: DeploymentId,
) => Promise<{ readonly manifest: Manifest; readonly routes: readonly Route[] } | null>
