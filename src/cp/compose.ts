/** The slices of the control plane, and what goes between them: none imports another. */

import { errorMessage } from '../errors.ts'
import { backoffMs } from '../protocol/backoff.ts'
import type { NodeId } from '../protocol/ids.ts'
import { LIMITS } from '../protocol/limits.ts'
import { compilePattern } from '../protocol/pattern.ts'
import type { TelemetryUpload } from '../protocol/telemetry.ts'
import { inspectModule } from '../wasm/check.ts'
import { sqlCommand } from '../sql/command.ts'
import { checkWholeModule } from '../wasm/validate.ts'
import { auditEndpoints } from './audit/routes.ts'
import type { Base, Job } from './base.ts'
import type { Broker, BrokerEvents } from './broker/broker.ts'
import { EmbeddedBroker } from './broker/embedded-broker.ts'
import { COMMAND_HOOKS, createCommandSlice, type Commands } from './commands/commands.ts'
import { ExternalBroker } from './broker/external-broker.ts'
import { createDeploymentHooks } from './deployments/hooks.ts'
import { deploymentEndpoints } from './deployments/routes.ts'
import { RolloutDriver } from './deployments/rollout/driver.ts'
import { createDeployments } from './deployments/service.ts'
import type { Endpoint } from './endpoint.ts'
import { createFunctions, type Functions } from './functions/functions.ts'
import { createFunctionLookup, requireVersion } from './functions/lookup.ts'
import type { FunctionLookup } from './lookup.ts'
import { createManifestSource, type ManifestSource } from './manifest-source.ts'
import { nodeEndpoints } from './nodes/routes.ts'
import { createNodes, type NodeService } from './nodes/service.ts'
import { getNode } from './nodes/store.ts'
import { undeliveredNotices } from './outbox/payload.ts'
import { Relay } from './outbox/relay.ts'
import { previewEndpoints } from './previews/routes.ts'
import { createPreviews } from './previews/service.ts'
import { routeEndpoints } from './routes/routes.ts'
import { createRoutes } from './routes/service.ts'
import { createCheck } from './schemas/check.ts'
import { schemaEndpoints } from './schemas/routes.ts'
import { createSchemas } from './schemas/service.ts'
import { createReveal } from './secrets/reveal.ts'
import { secretEndpoints } from './secrets/routes.ts'
import { createSecrets, type SecretService } from './secrets/service.ts'
import { syncEndpoints } from './sync/routes.ts'
import { createSync } from './sync/service.ts'
import { TombstoneKeeper } from './sync/tombstones.ts'
import { versionSamples } from './telemetry/calls.ts'
import { telemetryEndpoints } from './telemetry/routes.ts'
import { createTelemetry, type Telemetry } from './telemetry/service.ts'
import { createWatching } from './watching.ts'

/** The slices, and what goes between them. */
export function compose(base: Base): {
  readonly endpoints: readonly Endpoint[]
  readonly functions: Functions
  readonly relay: Relay
  readonly broker: Broker | null
  readonly jobs: readonly Job[]
} {
  const { db, auth, audit, artifacts, outbox, events } = base
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
  const rollouts = createRollouts(base)
  const rolling = { recordEvent: events.record, wakeRollouts: () => rollouts.wake() }
  const hooks = createDeploymentHooks({
    ...rolling,
    nextRevision,
    enqueueNotices,
    manifests,
    removeRoutes: routes.removeOfFunction,
  })
  const { sealing } = base
  const secrets = createSecrets({ db, audit: audit.record, functions: lookup, sealing })
  const reveal = createReveal(db, sealing)
  const functions = createFunctionsOf(base, lookup, hooks, secrets)
  const watching = createWatching(base, lookup)
  const nodes = createNodesOf(base, hooks)
  const telemetry = createTelemetryOf(base, lookup, nodes)
  const commands = createCommandsOf(base, hooks, lookup, nodes)
  const relay = createRelay(base, hooks)
  const tombstones = new TombstoneKeeper(base)
  return {
    functions,
    relay,
    broker: createBroker(base, relay, telemetry),
    jobs: [...watching.jobs, relay, telemetry, commands.keeper, tombstones, rollouts],
    endpoints: [
      ...functions.endpoints,
      ...routeEndpoints(routes),
      ...schemaEndpoints(createSchemas({ ...shared, check: createCheck(sqlCommand) })),
      ...deploymentEndpoints(createDeployments({ ...shared, ...rolling })),
      ...nodeEndpoints(nodes),
      ...commands.endpoints,
      ...syncEndpoints(createSyncOf(base, hooks, manifests), reveal.plan),
      ...secretEndpoints(secrets),
      ...previewEndpoints(createPreviewsOf(base, lookup, manifests), reveal.manifest),
      ...telemetryEndpoints(telemetry),
      ...watching.endpoints,
      ...auth.endpoints,
      ...auditEndpoints(db, audit, base.witness),
    ],
  }
}

function createPreviewsOf(
  { db, audit, auth, config }: Base,
  functions: FunctionLookup,
  manifests: ManifestSource,
) {
  return createPreviews({
    db,
    functions,
    manifests,
    audit: audit.record,
    sign: auth.signing.signPreview,
    verify: auth.signing.verifyPreview,
    domain: config.preview_domain,
    now: Date.now,
  })
}

function createRollouts({ db, log, place, outbox, events }: Base): RolloutDriver {
  return new RolloutDriver({
    db,
    log,
    place,
    nextRevision: outbox.nextRevision,
    enqueueNotices: outbox.enqueueNotices,
    recordEvent: events.record,
    versionSamples,
    monotonicMs: () => performance.now(),
    now: Date.now,
  })
}

type Hooks = ReturnType<typeof createDeploymentHooks>

function createFunctionsOf(
  base: Base,
  lookup: FunctionLookup,
  hooks: Hooks,
  secrets: SecretService,
): Functions {
  const { db, audit, artifacts, auth, liveness, addresses } = base
  return createFunctions({
    db,
    audit: audit.record,
    modules: artifacts,
    checkModule: checkWholeModule,
    inspectModule,
    sign: auth.signing.signArtifact,
    location: artifacts.location.bind(artifacts),
    lookup,
    hooks,
    secrets: secrets.links,
    troubles: (functionId) => liveness.troubles(functionId),
    public_url: addresses.apiUrl,
  })
}

function createSyncOf(
  { db, config, outbox, metrics }: Base,
  hooks: Hooks,
  manifests: ManifestSource,
) {
  return createSync({
    db,
    manifests,
    preview_domain: config.preview_domain,
    acknowledgeUpTo: outbox.acknowledgeUpTo,
    report: hooks.reported,
    countSync: metrics.countSync,
  })
}

function createNodesOf(base: Base, hooks: Hooks) {
  const { db, auth, audit, outbox, events, liveness, config, addresses } = base
  return createNodes({
    db,
    audit: audit.record,
    recordEvent: events.record,
    liveness,
    heartbeat_ms: config.heartbeat_ms,
    signingKey: auth.signing.publicKey,
    mqtt: () => ({
      mqtt_url: addresses.mqttUrl(),
      mqtt_auth: config.mqtt_external === null ? 'token' : 'account',
    }),
    publicUrl: addresses.apiUrl,
    issueNodeToken: auth.signing.issueNodeToken,
    registeredBefore: auth.registeredBefore,
    consumeJoinToken: auth.consumeJoinToken,
    createJoinToken: auth.createJoinToken,
    nodeJoined: hooks.nodeJoined,
    nodeLeaving: async (tx, nodeId, remove) => {
      await COMMAND_HOOKS.nodeLeaving(tx, nodeId)
      await base.witness.nodeLeaving(tx, nodeId)
      return hooks.nodeLeaving(tx, nodeId, remove)
    },
    setUpAgain: COMMAND_HOOKS.setUpAgain,
    commandsWaiting: (nodeId) => COMMAND_HOOKS.countOpen(db, nodeId),
    undelivered: (nodeId) => undeliveredNotices(db, outbox, nodeId, hooks.deployContent),
    witness: (nodeId, head) => base.witness.exchange(nodeId, head),
    disconnect: (nodeId) => base.broker()?.disconnect(nodeId),
    forget: (nodeId) => {
      base.witness.forget(nodeId)
      base.broker()?.forget(nodeId)
    },
  })
}

function createTelemetryOf(
  { db, log, metrics }: Base,
  functions: FunctionLookup,
  nodes: ReturnType<typeof createNodes>,
): Telemetry {
  return createTelemetry({
    db,
    log,
    resolveFunction: functions.resolve,
    requireVersion,
    requireNode: nodes.get,
    count: metrics.countTelemetry,
    countDeleted: metrics.countTelemetryDeleted,
    now: Date.now,
  })
}

function createCommandsOf(
  base: Base,
  hooks: Hooks,
  functions: FunctionLookup,
  nodes: NodeService,
): Commands {
  const { db, audit, liveness, log } = base
  return createCommandSlice({
    db,
    audit: audit.record,
    functions,
    log,
    isOffline: async (sql, nodeId) => {
      const row = await getNode(sql, nodeId)
      return row === null || liveness.statusIn(row) === 'offline'
    },
    hint: (nodeId, command_id) => {
      // A node that cannot be told now asks with its next heartbeat.
      base
        .broker()
        ?.send(nodeId, 'commands', JSON.stringify({ command_id }))
        .catch(() => undefined)
    },
    removeNode: nodes.leave,
    uncordoned: hooks.nodeUncordoned,
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

function createBroker(base: Base, relay: Relay, telemetry: Telemetry): Broker | null {
  const { config, log, auth, liveness, metrics, witness } = base
  const events: BrokerEvents = {
    log,
    onListening: (nodeId) => relay.connected(nodeId),
    onGone: (nodeId) => relay.disconnected(nodeId),
    onHeartbeat: (beat) => {
      liveness.beat(beat)
      // A broker of the operator's may carry beats of nodes that nobody took in: they are no witnesses.
      if (liveness.knows(beat.node_id)) void witness.heard(beat.node_id, beat.audit_head)
    },
    onNoticeAck: (nodeId, noticeId) => relay.acknowledge(nodeId, noticeId),
    onStatus: (nodeId, status) => liveness.said(nodeId, status),
    onTelemetry: (nodeId, upload) => acknowledgeTelemetry(base, telemetry, nodeId, upload),
    countMessage: metrics.countMessage,
  }
  if (config.mqtt_external !== null) {
    const retryDelayMs = (attempt: number) => backoffMs(attempt, Math.random())
    const isKnown = (nodeId: NodeId) => liveness.knows(nodeId)
    const learn = (nodeId: NodeId) => liveness.learn(nodeId)
    return new ExternalBroker({ ...events, ...config.mqtt_external, retryDelayMs, isKnown, learn })
  }
  if (config.mqtt_listen === null) return null
  return new EmbeddedBroker({
    ...events,
    listen: config.mqtt_listen,
    authenticate: auth.authenticate,
  })
}

/** Without an acknowledgement the node sends it again, so what fails here is its business and only noted. */
function acknowledgeTelemetry(
  { broker, log }: Base,
  telemetry: Telemetry,
  nodeId: NodeId,
  upload: TelemetryUpload,
): void {
  telemetry
    .take(nodeId, upload)
    .then((ack) => broker()?.send(nodeId, 'telemetry-acks', JSON.stringify(ack)))
    .catch((thrown: unknown) => {
      const error_message = errorMessage(thrown)
      log.debug('Telemetry was not acknowledged.', { node_id: nodeId, error_message })
    })
}
