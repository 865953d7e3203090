/**
 * Gives a function very many routes. The API takes some 2 ms for each, minutes for all: here they are stored as the control
 * plane stores them, in one transaction while it is stopped, and a node that is new to it gets them with its first plan.
 */

import { join } from 'node:path'

import type { RouteView } from '../../src/protocol/api.ts'
import { routeIdSchema } from '../../src/protocol/ids.ts'
import { openDatabase } from '../../src/cp/db/libsql.ts'
import { MIGRATIONS } from '../../src/cp/db/migrations.ts'
import { getRoute, putRoute } from '../../src/cp/routes/store.ts'
import type { ControlPlane } from '../../test/e2e/harness.ts'

/** Adds exact routes until there are `count`, `path` giving the path of each. Nodes that know the plane already get none of them. */
export async function addRoutes(
  plane: ControlPlane,
  fn: string,
  count: number,
  path: (index: number) => string,
): Promise<void> {
  const first = { path: path(0), path_type: 'exact', function: fn }
  const { id } = await plane.api<RouteView>('POST', '/routes', first)
  await plane.stop('SIGTERM')
  const database = await openDatabase({
    url: `file:${join(plane.dataDir, 'edgefn.db')}`,
    auth_token: null,
    migrations: MIGRATIONS,
  })
  try {
    await database.write(async (tx) => {
      const row = await getRoute(tx, id)
      if (row === null) throw new Error(`There is no route ${id}.`)
      for (let index = 1; index < count; index++) {
        const own = routeIdSchema.parse(Bun.randomUUIDv7())
        await putRoute(tx, { ...row, id: own, path: path(index) })
      }
    })
  } finally {
    await database.close()
  }
  await plane.start()
}
