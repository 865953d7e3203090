/** Brings many functions into service through the API, several at a time. */

import type { RegistrationView, RouteView } from '../../src/protocol/api.ts'
import type { ControlPlane } from '../../test/e2e/harness.ts'
import type { Edgefn } from './servers/edgefn.ts'

/** Requests to the control plane at a time; more gain nothing, it writes one transaction after the other. */
const requestsMax = 8
/** Functions that are stored before they are announced. */
const batchFunctions = 500

export interface ManyFunctions {
  /** The first number, and the one after the last. */
  readonly from: number
  readonly to: number
  /** Of the names, which end with the numbers. */
  readonly prefix: string
  /** The module of each; functions may share one. */
  module(index: number): Uint8Array<ArrayBuffer>
  /** The path that each answers, and no other. */
  path(index: number): string
}

/** Registers, uploads, routes and deploys them; they are in service some time later. */
export async function deployMany({ plane }: Edgefn, many: ManyFunctions): Promise<void> {
  for (let from = many.from; from < many.to; from += batchFunctions) {
    const to = Math.min(from + batchFunctions, many.to)
    await inParallel(from, to, requestsMax, (index) => store(plane, many, index))
    // Announced together, so that the node takes them on in few plans, while the next are stored.
    await inParallel(from, to, requestsMax, async (index) => {
      await plane.api('POST', `/functions/${many.prefix}${index}/deploy`, {})
    })
  }
}

async function store(plane: ControlPlane, many: ManyFunctions, index: number): Promise<void> {
  const name = `${many.prefix}${index}`
  const registered = await plane.api<RegistrationView>('POST', '/functions', { name })
  const uploaded = await fetch(registered.upload_url, { method: 'PUT', body: many.module(index) })
  const answer = await uploaded.text()
  if (!uploaded.ok) throw new Error(`PUT ${name}: ${uploaded.status} ${answer}`)
  const route = { path: many.path(index), path_type: 'exact', function: name }
  await plane.api<RouteView>('POST', '/routes', route)
}

/** Calls `each` for the numbers from one to before the other, so many at a time. Rejects with the first failure. */
async function inParallel(
  from: number,
  to: number,
  width: number,
  each: (index: number) => Promise<void>,
): Promise<void> {
  let next = from
  const lane = async () => {
    while (next < to) await each(next++)
  }
  await Promise.all(Array.from({ length: width }, lane))
}
