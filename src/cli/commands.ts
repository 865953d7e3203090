/** All commands, in the order help shows them. */

import type { Command } from './command.ts'
import { auditAccept, auditExport, auditList, auditVerify } from './commands/audit.ts'
import { cp } from './commands/cp.ts'
import { deploy } from './commands/deploy.ts'
import { deploymentsList, deploymentsShow } from './commands/deployments.ts'
import { dev } from './commands/dev.ts'
import { edge } from './commands/edge.ts'
import { functionsDelete, functionsList, functionsShow } from './commands/functions.ts'
import { inspect } from './commands/inspect.ts'
import { limits } from './commands/limits.ts'
import { metrics, nodesMetrics } from './commands/metrics.ts'
import { NODE_COMMANDS } from './commands/node-commands.ts'
import { nodesList, nodesShow } from './commands/nodes.ts'
import { nodesSyncs } from './commands/nodes-syncs.ts'
import { deploymentStatus, plan, rollback, ROLLOUT_ORDER_COMMANDS } from './commands/rollouts.ts'
import {
  routesCreate,
  routesDelete,
  routesList,
  routesShow,
  routesUpdate,
} from './commands/routes.ts'
import { secretDelete, secretList, secretPut } from './commands/secret.ts'
import { schemasCreate, schemasList, schemasStatus } from './commands/schemas.ts'
import { tokenCreate } from './commands/token.ts'
import { versionsList, versionsShow, versionsUpload } from './commands/versions.ts'
import { versionsDeploy } from './commands/versions-deploy.ts'
import { versionsPreview } from './commands/versions-preview.ts'
import {
  webhooksCreate,
  webhooksDeliveries,
  webhooksDelete,
  webhooksList,
} from './commands/webhooks.ts'

export const COMMANDS: readonly Command[] = [
  cp,
  edge,
  dev,
  tokenCreate,
  deploy,
  functionsList,
  functionsShow,
  functionsDelete,
  versionsUpload,
  versionsList,
  versionsShow,
  versionsDeploy,
  versionsPreview,
  secretPut,
  secretList,
  secretDelete,
  routesList,
  routesShow,
  routesCreate,
  routesUpdate,
  routesDelete,
  schemasCreate,
  schemasList,
  schemasStatus,
  nodesList,
  nodesShow,
  ...NODE_COMMANDS,
  nodesSyncs,
  nodesMetrics,
  metrics,
  deploymentsList,
  deploymentsShow,
  deploymentStatus,
  ...ROLLOUT_ORDER_COMMANDS,
  rollback,
  plan,
  webhooksCreate,
  webhooksList,
  webhooksDelete,
  webhooksDeliveries,
  auditList,
  auditVerify,
  auditExport,
  auditAccept,
  limits,
  inspect,
]
