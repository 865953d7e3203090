/** Functions of the measured control plane: uploaded and deployed as a developer does. */

import { readFileSync } from 'node:fs'

import { guestPath } from '../benchmarks/scenario.ts'
import type { ControlPlane } from './control-plane.ts'

/** Registers a version and uploads a small module; returns its number. */
export async function uploadVersion(cp: ControlPlane, name: string): Promise<number> {
  const registered = await cp.call('POST', '/functions', { name })
  const response = await fetch(String(registered['upload_url']), {
    method: 'PUT',
    body: readFileSync(guestPath('hello-c')),
  })
  if (!response.ok) throw new Error(`The upload failed: ${await response.text()}`)
  await response.body?.cancel()
  return Number(registered['version'])
}

/** Deploys a version to all nodes; returns the revision under which they get it. */
export async function deploy(cp: ControlPlane, name: string, version: number): Promise<number> {
  const deployment = await cp.call('POST', `/functions/${name}/deploy`, { version })
  return Number(deployment['revision'])
}
