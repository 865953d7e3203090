/** Brings a module into service through the API, as fast as that goes, and takes it away again. */

import type {
  DeploymentView,
  ErrorBody,
  RegistrationView,
  RouteView,
} from '../../src/protocol/api.ts'
import type { ControlPlane } from './harness.ts'
import { jsonOf, until } from './harness.ts'

interface GuestLimits {
  readonly memory_pages: number
  readonly max_execution_ms: number
}

/** Refused at ingest with a status and an error, or stored and deployed, for better or worse. */
export type Deployed =
  | { readonly stored: false; readonly status: number; readonly error: ErrorBody['error'] }
  | { readonly stored: true; readonly deployment: DeploymentView }

/** Registers `name`, uploads its module, routes `/<name>/*` to it and waits until its deployment has ended. */
export async function deployGuest(
  plane: ControlPlane,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  limits: GuestLimits,
): Promise<Deployed> {
  const registered = await plane.api<RegistrationView>('POST', '/functions', { name, ...limits })
  const uploaded = await fetch(registered.upload_url, { method: 'PUT', body: bytes })
  if (!uploaded.ok) {
    const { error } = await jsonOf<ErrorBody>(uploaded)
    return { stored: false, status: uploaded.status, error }
  }
  await plane.api<RouteView>('POST', '/routes', {
    path: `/${name}`,
    path_type: 'prefix',
    function: name,
  })
  const created = await plane.api<DeploymentView>('POST', `/functions/${name}/deploy`, {})
  const deployment = await until(`the deployment of ${name} has ended`, async () => {
    const view = await plane.api<DeploymentView>('GET', `/deployments/${created.id}`)
    return view.status === 'pending' || view.status === 'in_progress' ? null : view
  })
  return { stored: true, deployment }
}
