/** What the control plane counts and measures [C12.1]. */

import { monitorEventLoopDelay } from 'node:perf_hooks'

import type { NodeStatus } from '../protocol/messages.ts'
import {
  Counter,
  Gauge,
  Histogram,
  LATENCY_BUCKETS,
  Registry,
  renderMetrics,
} from '../telemetry/metrics.ts'
import type { Database } from './db/database.ts'

/** Asked for at each scrape. */
export interface CpGauges {
  readonly nodes: () => Record<NodeStatus, number>
  readonly outboxNotices: () => Promise<number>
  readonly mqttConnections: () => number
}

export interface CpMetrics {
  /** `route` is the endpoint's path with its parameters unfilled, so that the labels are few. */
  observeRequest(method: string, route: string, status: number, seconds: number): void
  countSync(succeeded: boolean): void
  countMessage(outcome: 'accepted' | 'invalid' | 'refused'): void
  countTelemetry(taken: { batches: number; duplicates: number; rows: number }): void
  countTelemetryDeleted(rows: number): void
  countAuditMismatch(): void
  /** The database, with its transactions and reads measured. */
  measure(db: Database): Database
  render(): Promise<{ contentType: string; text: string }>
}

export function createCpMetrics(gauges: CpGauges): CpMetrics {
  const registry = new Registry()
  const registers = [registry]
  const requests = new Histogram({
    name: 'edgefn_api_request_seconds',
    help: 'Time to answer a request to the API.',
    labelNames: ['method', 'route', 'status'],
    buckets: [...LATENCY_BUCKETS],
    registers,
  })
  const syncs = new Counter({
    name: 'edgefn_sync_acks_total',
    help: 'Plans that nodes reported on; failed when a function of it could not be served.',
    labelNames: ['result'],
    registers,
  })
  const messages = new Counter({
    name: 'edgefn_mqtt_messages_total',
    help: 'MQTT messages from nodes, and attempts to use a topic that were refused.',
    labelNames: ['outcome'],
    registers,
  })
  const mismatches = new Counter({
    name: 'edgefn_audit_mismatches_total',
    help: 'Heads of the audit log that a node has seen and that the log no longer has.',
    registers,
  })
  const telemetry = createTelemetryCounters(registers)
  const transactions = new Histogram({
    name: 'edgefn_db_transaction_seconds',
    help: 'Time of a write transaction, waiting for its turn included.',
    labelNames: ['result'],
    buckets: [...LATENCY_BUCKETS],
    registers,
  })
  const reads = new Counter({
    name: 'edgefn_db_reads_total',
    help: 'Queries outside transactions.',
    registers,
  })
  registerGauges(registry, gauges)

  return {
    observeRequest: (method, route, status, seconds) =>
      requests.observe({ method, route, status }, seconds),
    countAuditMismatch: () => mismatches.inc(),
    countSync: (succeeded) => syncs.inc({ result: succeeded ? 'succeeded' : 'failed' }),
    countMessage: (outcome) => messages.inc({ outcome }),
    ...telemetry,
    render: () => renderMetrics(registry, []),
    measure: (db) => ({
      ...db,
      all: (sql, parameters) => {
        reads.inc()
        return db.all(sql, parameters)
      },
      get: (sql, parameters) => {
        reads.inc()
        return db.get(sql, parameters)
      },
      write: async (work) => {
        const stop = transactions.startTimer()
        try {
          const result = await db.write(work)
          stop({ result: 'committed' })
          return result
        } catch (thrown) {
          stop({ result: 'rolled_back' })
          throw thrown
        }
      },
    }),
  }
}

/** What nodes' telemetry came to in the database. */
function createTelemetryCounters(
  registers: Registry[],
): Pick<CpMetrics, 'countTelemetry' | 'countTelemetryDeleted'> {
  const batches = new Counter({
    name: 'edgefn_telemetry_batches_total',
    help: 'Batches of telemetry from nodes; duplicate: it had been taken before and is not counted again.',
    labelNames: ['result'],
    registers,
  })
  const rows = new Counter({
    name: 'edgefn_telemetry_rows_total',
    help: 'Rows of telemetry that were written or added to, of all steps.',
    registers,
  })
  const deleted = new Counter({
    name: 'edgefn_telemetry_rows_deleted_total',
    help: 'Rows of telemetry that were kept long enough.',
    registers,
  })
  return {
    countTelemetry(taken) {
      batches.inc({ result: 'taken' }, taken.batches)
      batches.inc({ result: 'duplicate' }, taken.duplicates)
      rows.inc(taken.rows)
    },
    countTelemetryDeleted: (count) => deleted.inc(count),
  }
}

/** How long the event loop is kept from what is due, since the last scrape. */
function registerLoopDelay(registry: Registry): void {
  const delay = monitorEventLoopDelay({ resolution: 10 })
  delay.enable()
  new Gauge({
    name: 'edgefn_event_loop_delay_seconds',
    help: 'How late the event loop came to what was due, since the scrape before.',
    labelNames: ['quantile'],
    registers: [registry],
    collect() {
      for (const quantile of [0.5, 0.99, 1]) {
        const nanoseconds = delay.count > 0 ? delay.percentile(quantile * 100) : 0
        this.set({ quantile: String(quantile) }, nanoseconds / 1e9)
      }
      delay.reset()
    },
  })
}

function registerGauges(registry: Registry, gauges: CpGauges): void {
  const registers = [registry]
  registerLoopDelay(registry)
  new Gauge({
    name: 'edgefn_nodes',
    help: 'Nodes by status.',
    labelNames: ['status'],
    registers,
    collect() {
      for (const [status, count] of Object.entries(gauges.nodes())) this.set({ status }, count)
    },
  })
  new Gauge({
    name: 'edgefn_outbox_notices',
    help: 'Notices that their nodes have not acknowledged.',
    registers,
    async collect() {
      this.set(await gauges.outboxNotices())
    },
  })
  new Gauge({
    name: 'edgefn_mqtt_connections',
    help: 'Open connections to the broker.',
    registers,
    collect() {
      this.set(gauges.mqttConnections())
    },
  })
}
