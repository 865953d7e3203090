/** What heartbeats of a large fleet cost: processor time of the control plane, and writes to its database. */

import { atMost } from '../../benchmarks/goals.ts'
import { spread } from '../../benchmarks/statistics.ts'
import { figure, mebibytes } from '../../benchmarks/table.ts'
import type { ControlPlane } from '../control-plane.ts'
import { withFleet } from '../fleet.ts'
import type { FleetScenario } from '../scenario.ts'
import { spreadRow } from '../spread-row.ts'

const heartbeatMs = 30_000
/** What one look takes together: long enough for batches to be written, short enough for a spread. */
const sliceMs = 10_000

interface Slice {
  readonly cores: number
  readonly transactions_per_second: number
  readonly messages_per_second: number
  readonly resident_bytes: number
}

export const heartbeats: FleetScenario = {
  name: 'heartbeats',
  about: 'nodes that do nothing but beat every 30 s',
  async run({ settings, say }) {
    say(`registering ${settings.many} nodes`)
    const { many: nodes } = settings
    const slices: Slice[] = []
    const startedAt = performance.now()
    let enrolSeconds = 0
    await withFleet({ nodes, heartbeat_ms: heartbeatMs, syncs: false }, async (cp, fleet) => {
      enrolSeconds = (performance.now() - startedAt) / 1000
      say('connecting them, spread over one interval')
      await fleet.open(heartbeatMs)
      await Bun.sleep(heartbeatMs)
      for (let passedMs = 0; passedMs < settings.seconds * 1000; passedMs += sliceMs) {
        slices.push(await watch(cp))
        say(`${figure(100 * (slices.at(-1)?.cores ?? 0))} % of a core`)
      }
    })
    const cores = spread(slices.map((slice) => slice.cores))
    return {
      tables: [
        {
          title: `${settings.many} nodes, a heartbeat every 30 s each, ${slices.length} times 10 s`,
          head: ['', 'min', 'median', 'max'],
          rows: [
            spreadRow(
              'cp processor time, % of a core',
              slices.map((slice) => 100 * slice.cores),
            ),
            spreadRow(
              'heartbeats taken, per second',
              slices.map((slice) => slice.messages_per_second),
            ),
            spreadRow(
              'write transactions, per second',
              slices.map((slice) => slice.transactions_per_second),
            ),
            spreadRow(
              'cp RSS, MiB',
              slices.map((slice) => slice.resident_bytes),
              mebibytes,
            ),
          ],
        },
      ],
      goals: [atMost(15, `heartbeats of ${settings.many} nodes, median`, 100 * cores.median, '%')],
      notes: [
        `Registering took ${figure(enrolSeconds)} s: ${figure(settings.many / enrolSeconds)} nodes/s.`,
      ],
      raw: { slices, enrol_seconds: enrolSeconds },
    }
  },
}

async function watch(cp: ControlPlane): Promise<Slice> {
  const look = async () => ({
    at: performance.now(),
    micros: cp.processorMicros(),
    transactions: await cp.metric('edgefn_db_transaction_seconds_count'),
    messages: await cp.metric('edgefn_mqtt_messages_total', 'outcome="accepted"'),
  })
  const before = await look()
  await Bun.sleep(sliceMs)
  const after = await look()
  const seconds = (after.at - before.at) / 1000
  return {
    cores: (after.micros - before.micros) / 1e6 / seconds,
    transactions_per_second: (after.transactions - before.transactions) / seconds,
    messages_per_second: (after.messages - before.messages) / seconds,
    resident_bytes: cp.residentBytes(),
  }
}
