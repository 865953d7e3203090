/** What every slice of the control plane stands on: configuration, log, database, audit, keys, artifacts, liveness. */

import type { CpConfig } from '../config/modes.ts'
import type { Log } from '../telemetry/log.ts'
import { createArtifactStore } from './artifacts/create.ts'
import type { ArtifactStore } from './artifacts/store.ts'
import { createAuditStore, type AuditStore } from './audit/store.ts'
import { AuditWitness } from './audit/witness.ts'
import { createAuth, type Auth } from './auth/auth.ts'
import type { Broker } from './broker/broker.ts'
import { lockDataDir } from './db/data-lock.ts'
import type { Database } from './db/database.ts'
import { openDatabase } from './db/libsql.ts'
import { MIGRATIONS } from './db/migrations.ts'
import { EventLog } from './events/event-log.ts'
import { createCpMetrics, type CpMetrics } from './metrics.ts'
import { Liveness } from './nodes/liveness.ts'
import { createOutbox, type Outbox } from './outbox/store.ts'
import { createSealing, type Sealing } from './sealing.ts'
import { WebhookDriver } from './webhooks/driver.ts'
import { enqueueDeliveries } from './webhooks/store.ts'

/** How the control plane is reached; known once it listens, asked for only then. */
export interface Addresses {
  readonly apiUrl: () => string
  readonly mqttUrl: () => string | null
}

/** What the rest stands on. */
export interface Base {
  readonly config: CpConfig
  /** Of the data directory (`db/data-lock.ts`). */
  readonly place: string
  readonly log: Log
  readonly db: Database
  readonly audit: AuditStore
  readonly witness: AuditWitness
  readonly auth: Auth
  readonly sealing: Sealing
  readonly artifacts: ArtifactStore
  readonly metrics: CpMetrics
  readonly outbox: Outbox
  readonly liveness: Liveness
  readonly addresses: Addresses
  readonly events: EventLog
  readonly webhookDriver: WebhookDriver
  readonly broker: () => Broker | null
}

/** A step of closing; they run in the reverse of their order. */
export type Step = () => Promise<void> | void

/** What works by itself while the control plane runs: opened in order once it listens, closed in reverse. */
export interface Job {
  open(): Promise<void> | void
  close(): Promise<void> | void
}

/** Opens in order and pushes onto `closing` what ends each part again. */
export async function openBase(
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
  const metrics: CpMetrics = createCpMetrics({
    nodes: () => liveness.counts(),
    outboxNotices: () => outbox.length(opened),
    mqttConnections: () => late.broker()?.connections ?? 0,
  })
  const db = metrics.measure(opened)
  const { heartbeat_ms, data_dir } = config
  const monotonicMs = () => performance.now()
  const sealing = await createSealing(data_dir)
  const webhookDriver = new WebhookDriver({ db, sealing, log, now: Date.now, random: Math.random })
  const events = new EventLog({
    db,
    log,
    publish: (event) => late.broker()?.publishEvent(event),
    enqueue: enqueueDeliveries,
    wakeDeliveries: () => webhookDriver.wake(),
    now: Date.now,
  })
  const publishEvent = events.publish
  const liveness = new Liveness({ db, log, publishEvent, heartbeat_ms, monotonicMs })
  const audit = createAuditStore()
  const witness = new AuditWitness({
    ...{ db, store: audit, sealing, log, now: Date.now },
    recordEvent: events.record,
    countMismatch: metrics.countAuditMismatch,
  })
  return {
    config,
    place: lock.place,
    log,
    db,
    audit,
    witness,
    auth: await createAuth({ db, data_dir, audit: audit.record }),
    sealing,
    artifacts: createArtifactStore({
      config: config.artifacts,
      data_dir,
      public_url: late.addresses.apiUrl,
    }),
    metrics,
    outbox,
    liveness,
    addresses: late.addresses,
    events,
    webhookDriver,
    broker: late.broker,
  }
}
