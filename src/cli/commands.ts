/** All commands, in the order help shows them. */

import type { Command } from './command.ts'
import { cp } from './commands/cp.ts'
import { deploy } from './commands/deploy.ts'
import { deploymentsList, deploymentsShow } from './commands/deployments.ts'
import { dev } from './commands/dev.ts'
import { edge } from './commands/edge.ts'
import {
  functionsDelete,
  functionsList,
  functionsShow,
  versionsList,
} from './commands/functions.ts'
import { inspect } from './commands/inspect.ts'
import { limits } from './commands/limits.ts'
import { nodesList, nodesShow } from './commands/nodes.ts'
import { routesCreate, routesDelete, routesList, routesUpdate } from './commands/routes.ts'
import { tokenCreate } from './commands/token.ts'

export const COMMANDS: readonly Command[] = [
  cp,
  edge,
  dev,
  tokenCreate,
  deploy,
  functionsList,
  functionsShow,
  functionsDelete,
  versionsList,
  routesList,
  routesCreate,
  routesUpdate,
  routesDelete,
  nodesList,
  nodesShow,
  deploymentsList,
  deploymentsShow,
  limits,
  inspect,
]
