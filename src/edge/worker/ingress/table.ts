/** What a worker serves at one moment: swapped whole, in one assignment, when the agent sends another. */

import type { WorkerFunction } from '../../ipc.ts'
import type { TableRows } from '../../table-parts.ts'
import { type Router, RouterBuilder } from '../router/router.ts'

export interface ServingTable {
  readonly revision: number
  readonly router: Router
  /** Another form of a function, or its file, takes the place of one of them while the table serves. */
  readonly functions: Map<string, WorkerFunction>
  /** What the names of preview hosts end with, a dot first; null: there are none. */
  readonly preview_suffix: string | null
}

/** Milliseconds for which building a table may keep requests waiting; and how many routes there are between two looks at the clock. */
const sliceMsMax = 1
const routesPerLook = 64

/** A table from `rows`, built in slices between which requests are served: 100 000 routes take some 50 ms. */
export async function buildTable(
  revision: number,
  rows: Pick<TableRows, 'functions' | 'routes' | 'preview_domain'>,
): Promise<ServingTable> {
  const builder = new RouterBuilder()
  let sliceEndsAt = performance.now() + sliceMsMax
  let untilLook = routesPerLook
  for (const route of rows.routes.values()) {
    builder.add(route)
    untilLook -= 1
    if (untilLook > 0) continue
    untilLook = routesPerLook
    if (performance.now() < sliceEndsAt) continue
    await new Promise((resolve) => setImmediate(resolve))
    sliceEndsAt = performance.now() + sliceMsMax
  }
  const preview_suffix = rows.preview_domain === null ? null : `.${rows.preview_domain}`
  const functions = new Map(rows.functions)
  return { revision, router: builder.finish(), functions, preview_suffix }
}
