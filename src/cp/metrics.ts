/** What the control plane counts and measures [C12.1]. */

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
    countSync: (succeeded) => syncs.inc({ result: succeeded ? 'succeeded' : 'failed' }),
    countMessage: (outcome) => messages.inc({ outcome }),
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

function registerGauges(registry: Registry, gauges: CpGauges): void {
  const registers = [registry]
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
