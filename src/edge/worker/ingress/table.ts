/** What a worker serves at one moment: swapped whole, in one assignment, when the agent sends another. */

import type { Route } from '../../../protocol/manifest.ts'
import type { WorkerFunction } from '../../ipc.ts'
import { buildRouter, type Router } from '../router/router.ts'

export interface ServingTable {
  readonly revision: number
  readonly router: Router
  readonly functions: ReadonlyMap<string, WorkerFunction>
}

export function buildTable(
  revision: number,
  functions: readonly WorkerFunction[],
  routes: readonly Route[],
): ServingTable {
  return {
    revision,
    router: buildRouter(routes),
    functions: new Map(functions.map((fn) => [fn.function_id, fn])),
  }
}
