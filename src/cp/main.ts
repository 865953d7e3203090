/** The control plane's composition root: opens every part in order, closes them in reverse. */

import type { Server } from 'bun'

import type { CpConfig } from '../config/modes.ts'
import type { Log } from '../telemetry/log.ts'
import { VERSION } from '../version.ts'
import { createApi } from './api.ts'
import { mountArtifacts } from './artifacts/mount.ts'
import { openBase, type Addresses, type Base, type Step } from './base.ts'
import type { Broker } from './broker/broker.ts'
import { compose } from './compose.ts'
import type { Endpoint } from './endpoint.ts'
import type { Functions } from './functions/functions.ts'
import type { Relay } from './outbox/relay.ts'
import { reseal } from './reseal.ts'
import { listen, stopServing, urlOf } from './server.ts'

export interface ControlPlane {
  readonly api_url: string
  /** Null when the broker is switched off. */
  readonly mqtt_url: string | null
  /** The owner's API key when this start made it; it is shown once. */
  readonly owner_key: string | null
  /** Ends everything in reverse order; a second call waits for the first. */
  close(): Promise<void>
}

/**
 * Starts a control plane and returns when it answers. Throws EdgefnError when a part cannot be opened; what was opened
 * before is closed again. Handles no signals.
 */
export async function startControlPlane(config: CpConfig, log: Log): Promise<ControlPlane> {
  const closing: Step[] = []
  let closed: Promise<void> | null = null
  const close = () => (closed ??= runReversed(closing, log))
  try {
    return { ...(await open(config, log, closing)), close }
  } catch (thrown) {
    await close()
    throw thrown
  }
}

async function open(
  config: CpConfig,
  log: Log,
  closing: Step[],
): Promise<Omit<ControlPlane, 'close'>> {
  let server: Server<undefined> | null = null
  let broker: Broker | null = null
  let relay: Relay | null = null
  const addresses: Addresses = {
    apiUrl: () => config.public_url ?? urlOf(config.listen, server?.port ?? config.listen.port),
    mqttUrl: () => mqttUrlOf(config, addresses.apiUrl(), broker),
  }
  const base = await openBase(config, log, closing, {
    addresses,
    wake: () => relay?.wake(),
    broker: () => broker,
  })
  const { key, created } = await base.auth.ensureOwnerKey()
  await base.artifacts.ensure()
  await reseal(base.db, base.sealing)
  const { endpoints, functions, jobs, ...made } = compose(base)
  relay = made.relay
  broker = made.broker
  // The nodes are known before the first of them can speak.
  await base.liveness.open()
  closing.push(() => base.liveness.close())
  base.witness.open()
  closing.push(() => base.witness.close())
  closing.push(() => made.broker?.close())
  await made.broker?.open()
  const listening = serve(base, endpoints, functions)
  server = listening
  closing.push(() => stopServing(listening))
  for (const job of jobs) {
    closing.push(() => job.close())
    await job.open()
  }
  warnOfAddress(config, log)
  return {
    api_url: addresses.apiUrl(),
    mqtt_url: addresses.mqttUrl(),
    owner_key: created ? key : null,
  }
}

/** Throws `invalid_config` when the address cannot be had. */
function serve(
  base: Base,
  endpoints: readonly Endpoint[],
  functions: Functions,
): Server<undefined> {
  const { config, log, auth, artifacts, metrics, addresses } = base
  const app = createApi({
    endpoints,
    authenticate: auth.authenticate,
    authorize: auth.authorize,
    checks: {
      database: () => base.db.ping(),
      artifacts: () => artifacts.check(),
      ...(base.broker() === null ? {} : { broker: async () => base.broker()?.check() }),
    },
    // Without the operator's broker everything works by polling, so it takes no control plane out of service.
    advisory: config.mqtt_external === null ? [] : ['broker'],
    metrics,
    log,
    version: VERSION,
    publicUrl: addresses.apiUrl,
    mount: (hono) => mountArtifacts(hono, { store: artifacts, uploads: functions.uploads, log }),
  })
  return listen(config.listen, app)
}

function mqttUrlOf(config: CpConfig, apiUrl: string, broker: Broker | null): string | null {
  if (broker === null) return null
  return config.mqtt_public_url ?? broker.nodeUrl(new URL(apiUrl).hostname)
}

function warnOfAddress({ listen, public_url }: CpConfig, log: Log): void {
  if (public_url !== null || (listen.host !== '0.0.0.0' && listen.host !== '::')) return
  log.warn(
    'public_url is not set: URLs given to nodes and developers point to 127.0.0.1 and work on this machine only.',
  )
}

/** Every step is tried; what fails is logged, because the steps after it matter more. */
async function runReversed(steps: Step[], log: Log): Promise<void> {
  for (const step of steps.splice(0).reverse()) {
    try {
      await step()
    } catch (thrown) {
      log.failure('A part of the control plane could not be closed.', thrown)
    }
  }
}
