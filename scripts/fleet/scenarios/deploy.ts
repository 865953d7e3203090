/** A deployment to a connected fleet: from the request until the control plane has taken the last node's acknowledgement. */

import { atMost } from '../../benchmarks/goals.ts'
import { quantile, spread } from '../../benchmarks/statistics.ts'
import { figure, mebibytes } from '../../benchmarks/table.ts'
import type { ControlPlane } from '../control-plane.ts'
import { withFleet, type Fleet } from '../fleet.ts'
import { deploy, uploadVersion } from '../functions.ts'
import type { FleetScenario } from '../scenario.ts'
import { spreadRow } from '../spread-row.ts'

const heartbeatMs = 30_000
const openOverMs = 5_000

interface Round {
  readonly p50: number
  readonly p99: number
  readonly worst: number
  readonly cpu_ms: number
  readonly delay_p99_ms: number
  readonly resident_bytes: number
}

export const deployment: FleetScenario = {
  name: 'deploy',
  about: 'a deployment to a connected fleet, until its last node has acknowledged',
  async run({ settings, say }) {
    say(`registering ${settings.nodes} nodes`)
    const { nodes } = settings
    const rounds: Round[] = []
    await withFleet({ nodes, heartbeat_ms: heartbeatMs, syncs: true }, async (cp, fleet) => {
      await fleet.open(openOverMs)
      // The first deployment loads what later ones find there.
      await measure(cp, fleet)
      for (let round = 1; round <= settings.rounds; round++) {
        rounds.push(await measure(cp, fleet))
        say(`round ${round}: the last node after ${figure(rounds.at(-1)?.worst ?? null)} ms`)
      }
    })
    const worst = spread(rounds.map((round) => round.worst))
    return {
      tables: [
        {
          title: `One deployment to ${settings.nodes} connected nodes, ${settings.rounds} rounds`,
          head: ['', 'min', 'median', 'max'],
          rows: [
            spreadRow(
              'node acknowledged, p50 ms',
              rounds.map((round) => round.p50),
            ),
            spreadRow(
              'node acknowledged, p99 ms',
              rounds.map((round) => round.p99),
            ),
            spreadRow(
              'last node acknowledged, ms',
              rounds.map((round) => round.worst),
            ),
            spreadRow(
              'cp event loop delay p99, ms',
              rounds.map((round) => round.delay_p99_ms),
            ),
            spreadRow(
              'cp processor time, ms',
              rounds.map((round) => round.cpu_ms),
            ),
            spreadRow(
              'cp RSS, MiB',
              rounds.map((round) => round.resident_bytes),
              mebibytes,
            ),
          ],
        },
      ],
      goals: [atMost(2_000, `${settings.nodes} nodes acknowledged, median`, worst.median, 'ms')],
      notes: [
        'The simulated nodes take most of the other core: they parse, fetch and check the module.',
      ],
      raw: rounds,
    }
  },
}

async function measure(cp: ControlPlane, fleet: Fleet): Promise<Round> {
  const version = await uploadVersion(cp, 'fleet')
  // The scrape begins the observation of the event loop anew.
  await cp.metric('edgefn_event_loop_delay_seconds')
  const micros = cp.processorMicros()
  const startedAt = performance.now()
  const revision = await deploy(cp, 'fleet', version)
  const times = await fleet.acknowledgements(revision, startedAt)
  return {
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    worst: Math.max(...times),
    cpu_ms: (cp.processorMicros() - micros) / 1000,
    delay_p99_ms: 1000 * (await cp.metric('edgefn_event_loop_delay_seconds', 'quantile="0.99"')),
    resident_bytes: cp.residentBytes(),
  }
}
