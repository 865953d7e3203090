/** Brings many functions into service through the API, several at a time. */

import type { RegistrationView, RouteView } from '../../src/protocol/api.ts'
import type { Edgefn } from './servers/edgefn.ts'

/** Requests to the control plane at a time; more gain nothing, it writes one transaction after the other. */
const requestsMax = 8

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
  const { from, to, prefix } = many
  await inParallel(to - from, requestsMax, async (place) => {
    const index = from + place
    const name = `${prefix}${index}`
    const registered = await plane.api<RegistrationView>('POST', '/functions', { name })
    const uploaded = await fetch(registered.upload_url, { method: 'PUT', body: many.module(index) })
    const answer = await uploaded.text()
    if (!uploaded.ok) throw new Error(`PUT ${name}: ${uploaded.status} ${answer}`)
    const route = { path: many.path(index), path_type: 'exact', function: name }
    await plane.api<RouteView>('POST', '/routes', route)
  })
  // Announced when all are there, so that the node takes them on in few plans.
  await inParallel(to - from, requestsMax, async (place) => {
    await plane.api('POST', `/functions/${prefix}${from + place}/deploy`, {})
  })
}

/** Calls `each` for 0 to `count` - 1, so many at a time. Rejects with the first failure. */
export async function inParallel(
  count: number,
  width: number,
  each: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < count) await each(next++)
  }
  await Promise.all(Array.from({ length: width }, lane))
}
