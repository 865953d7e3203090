/** The control plane's composition root: constructs every part, opens them in order, closes them in reverse. */

import type { Server } from 'bun'

import type { CpConfig } from '../config/modes.ts'
import { LIMITS } from '../protocol/limits.ts'
import { compilePattern } from '../protocol/pattern.ts'
import type { Log } from '../telemetry/log.ts'
import { VERSION } from '../version.ts'
import { checkWholeModule } from '../wasm/validate.ts'
import { createApi } from './api.ts'
import { createArtifactStore } from './artifacts/create.ts'
import { mountArtifacts } from './artifacts/mount.ts'
import type { ArtifactStore } from './artifacts/store.ts'
import { auditEndpoints } from './audit/routes.ts'
import { createAuditStore, type AuditStore } from './audit/store.ts'
import { createAuth, type Auth } from './auth/auth.ts'
import { Broker } from './broker/broker.ts'
import { lockDataDir } from './db/data-lock.ts'
import type { Database } from './db/database.ts'
import { openDatabase } from './db/libsql.ts'
import { MIGRATIONS } from './db/migrations.ts'
import { createDeploymentHooks } from './deployments/hooks.ts'
import { deploymentEndpoints } from './deployments/routes.ts'
import { createDeployments } from './deployments/service.ts'
import type { Endpoint } from './endpoint.ts'
import type { PublishEvent } from './events.ts'
import { createFunctions, type Functions } from './functions/functions.ts'
import { createFunctionLookup } from './functions/lookup.ts'
import { createManifestSource } from './manifest-source.ts'
import { createCpMetrics, type CpMetrics } from './metrics.ts'
import { Liveness } from './nodes/liveness.ts'
import { nodeEndpoints } from './nodes/routes.ts'
import { createNodes } from './nodes/service.ts'
import { undeliveredNotices } from './outbox/payload.ts'
import { Relay } from './outbox/relay.ts'
import { createOutbox, type Outbox } from './outbox/store.ts'
import { routeEndpoints } from './routes/routes.ts'
import { createRoutes } from './routes/service.ts'
import { listen, stopServing, urlOf } from './server.ts'
import { syncEndpoints } from './sync/routes.ts'
import { createSync } from './sync/service.ts'

export interface ControlPlane {
  readonly api_url: string
  /** Null when the broker is switched off. */
  readonly mqtt_url: string | null
  /** The owner's API key when this start made it; it is shown once. */
  readonly owner_key: string | null
  /** Ends everything in reverse order; a second call waits for the first. */
  close(): Promise<void>
}

/** How the control plane is reached; known once it listens, asked for only then. */
interface Addresses {
  readonly apiUrl: () => string
  readonly mqttUrl: () => string | null
}

/** What the rest stands on. */
interface Base {
  readonly config: CpConfig
  readonly log: Log
  readonly db: Database
  readonly audit: AuditStore
  readonly auth: Auth
  readonly artifacts: ArtifactStore
  readonly metrics: CpMetrics
  readonly outbox: Outbox
  readonly liveness: Liveness
  readonly addresses: Addresses
  readonly publishEvent: PublishEvent
  readonly broker: () => Broker | null
}

type Step = () => Promise<void> | void

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
  const { endpoints, functions, relay: made, broker: brokerMade } = compose(base)
  relay = made
  broker = brokerMade
  // The nodes are known before the first of them can speak.
  await base.liveness.open()
  closing.push(() => base.liveness.close())
  closing.push(() => brokerMade?.close())
  await brokerMade?.open()
  const listening = serve(base, endpoints, functions)
  server = listening
  closing.push(() => stopServing(listening))
  made.open()
  closing.push(() => made.close())
  warnOfAddress(config, log)
  return {
    api_url: addresses.apiUrl(),
    mqtt_url: addresses.mqttUrl(),
    owner_key: created ? key : null,
  }
}

async function openBase(
  config: CpConfig,
  log: Log,
  closing: Step[],
  late: {
    readonly addresses: Addresses
    readonly wake: () => void
    readonly broker: () => Broker | null
  },
): Promise<Base> {
  const lock = await lockDataDir(config.data_dir)
  closing.push(() => lock.release())
  const opened = await openDatabase({
    url: config.database_url,
    auth_token: config.database_auth_token,
    migrations: MIGRATIONS,
  })
  closing.push(() => opened.close())
  const outbox = createOutbox({ wake: late.wake })
  const publishEvent: PublishEvent = (event) => late.broker()?.publishEvent(event)
  const metrics: CpMetrics = createCpMetrics({
    nodes: () => liveness.counts(),
    outboxNotices: () => outbox.length(opened),
    mqttConnections: () => late.broker()?.connections ?? 0,
  })
  const db = metrics.measure(opened)
  const { heartbeat_ms, data_dir } = config
  const monotonicMs = () => performance.now()
  const liveness = new Liveness({ db, log, publishEvent, heartbeat_ms, monotonicMs })
  const audit = createAuditStore()
  return {
    config,
    log,
    db,
    audit,
    auth: await createAuth({ db, data_dir, audit: audit.record }),
    artifacts: createArtifactStore({
      config: config.artifacts,
      data_dir,
      public_url: late.addresses.apiUrl,
    }),
    metrics,
    outbox,
    liveness,
    addresses: late.addresses,
    publishEvent,
    broker: late.broker,
  }
}

/** The slices, and what goes between them. */
function compose(base: Base): {
  readonly endpoints: readonly Endpoint[]
  readonly functions: Functions
  readonly relay: Relay
  readonly broker: Broker | null
} {
  const { db, auth, audit, artifacts, outbox, publishEvent, metrics } = base
  const { nextRevision, enqueueNotices } = outbox
  const location = artifacts.location.bind(artifacts)
  const lookup = createFunctionLookup(location)
  const shared = { db, functions: lookup, audit: audit.record, nextRevision, enqueueNotices }
  const manifests = createManifestSource({
    functions: lookup,
    presign: (sha256) => artifacts.presignDownload(sha256, LIMITS.downloadUrlSecondsMax),
  })
  const routes = createRoutes({
    ...shared,
    validatePattern: (source) => void compilePattern(source),
  })
  const hooks = createDeploymentHooks({
    nextRevision,
    enqueueNotices,
    manifests,
    removeRoutes: routes.removeOfFunction,
    publishEvent,
  })
  const functions = createFunctions({
    db,
    audit: audit.record,
    modules: artifacts,
    checkModule: checkWholeModule,
    sign: auth.signing.signArtifact,
    location,
    lookup,
    hooks,
    troubles: (functionId) => base.liveness.troubles(functionId),
    public_url: base.addresses.apiUrl,
  })
  const sync = createSync({
    db,
    manifests,
    acknowledgeUpTo: outbox.acknowledgeUpTo,
    report: hooks.reported,
    countSync: metrics.countSync,
  })
  const nodes = createNodesOf(base, hooks)
  const relay = createRelay(base, hooks)
  return {
    functions,
    relay,
    broker: createBroker(base, relay),
    endpoints: [
      ...functions.endpoints,
      ...routeEndpoints(routes),
      ...deploymentEndpoints(createDeployments({ ...shared, publishEvent })),
      ...nodeEndpoints(nodes),
      ...syncEndpoints(sync),
      ...auth.endpoints,
      ...auditEndpoints(db, audit),
    ],
  }
}

type Hooks = ReturnType<typeof createDeploymentHooks>

function createNodesOf(base: Base, hooks: Hooks) {
  const { db, auth, audit, outbox, liveness, config, addresses } = base
  return createNodes({
    db,
    audit: audit.record,
    liveness,
    heartbeat_ms: config.heartbeat_ms,
    signingKey: auth.signing.publicKey,
    mqttUrl: addresses.mqttUrl,
    publicUrl: addresses.apiUrl,
    issueNodeToken: auth.signing.issueNodeToken,
    registeredBefore: auth.registeredBefore,
    consumeJoinToken: auth.consumeJoinToken,
    createJoinToken: auth.createJoinToken,
    nodeJoined: hooks.nodeJoined,
    nodeLeaving: hooks.nodeLeaving,
    undelivered: (nodeId) => undeliveredNotices(db, outbox, nodeId, hooks.deployContent),
    disconnect: (nodeId) => base.broker()?.disconnect(nodeId),
    forget: (nodeId) => base.broker()?.forget(nodeId),
  })
}

function createRelay({ db, outbox, log, broker }: Base, hooks: Hooks): Relay {
  return new Relay({
    db,
    outbox,
    deployContent: hooks.deployContent,
    publish: async (nodeId, notice) => {
      await broker()?.publishNotice(nodeId, notice)
    },
    notified: hooks.notified,
    log,
    now: Date.now,
    random: Math.random,
  })
}

function createBroker({ config, log, auth, liveness, metrics }: Base, relay: Relay): Broker | null {
  if (config.mqtt_listen === null) return null
  return new Broker({
    listen: config.mqtt_listen,
    log,
    authenticate: auth.authenticate,
    onListening: (nodeId) => relay.connected(nodeId),
    onGone: (nodeId) => relay.disconnected(nodeId),
    onHeartbeat: (beat) => liveness.beat(beat),
    onNoticeAck: (nodeId, noticeId) => relay.acknowledge(nodeId, noticeId),
    onStatus: (nodeId, status) => liveness.said(nodeId, status),
    countMessage: metrics.countMessage,
  })
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
      ...(config.mqtt_listen === null ? {} : { broker: () => checkBroker(base.broker()) }),
    },
    metrics,
    log,
    version: VERSION,
    publicUrl: addresses.apiUrl,
    mount: (hono) => mountArtifacts(hono, { store: artifacts, uploads: functions.uploads, log }),
  })
  return listen(config.listen, app)
}

async function checkBroker(broker: Broker | null): Promise<void> {
  if (broker?.listening !== true) throw new Error('not listening')
}

function mqttUrlOf(config: CpConfig, apiUrl: string, broker: Broker | null): string | null {
  if (broker === null) return null
  return config.mqtt_public_url ?? `mqtt://${new URL(apiUrl).hostname}:${broker.port}`
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
