/**
 * The control plane is killed while a deployment is under way, and comes back: how long until every node of a connected fleet has
 * acknowledged it, and how hard they all come at once.
 */

import { figure } from '../../benchmarks/table.ts'
import type { ControlPlane } from '../control-plane.ts'
import { withFleet, type Fleet } from '../fleet.ts'
import { deploy, uploadVersion } from '../functions.ts'
import type { FleetScenario } from '../scenario.ts'
import { spreadRow } from '../spread-row.ts'

const heartbeatMs = 30_000
const openOverMs = 5_000
/** How long the control plane is away. */
const awayMs = 5_000
/** The fleet counts as connected again when so many of its connections are. */
const connectedMsMax = 180_000

interface Round {
  readonly start_ms: number
  readonly connected_ms: number
  readonly converged_ms: number
  readonly delay_p99_ms: number
  readonly waiting: number
}

export const restart: FleetScenario = {
  name: 'restart',
  about: 'a fleet that comes back at once after kill -9 of the control plane in mid-deployment',
  async run({ settings, say }) {
    say(`registering ${settings.nodes} nodes`)
    const { nodes } = settings
    const rounds: Round[] = []
    await withFleet({ nodes, heartbeat_ms: heartbeatMs, syncs: true }, async (cp, fleet) => {
      await fleet.open(openOverMs)
      for (let round = 1; round <= settings.rounds; round++) {
        rounds.push(await measure(cp, fleet))
        const last = rounds.at(-1)
        say(`round ${round}: connected ${figure(last?.connected_ms ?? null)} ms after it was ready`)
      }
    })
    return {
      tables: [
        {
          title: `${settings.nodes} nodes after kill -9 of the control plane, away for ${awayMs / 1000} s, ${settings.rounds} rounds`,
          head: ['', 'min', 'median', 'max'],
          rows: [
            spreadRow(
              'cp start until ready, ms',
              rounds.map((round) => round.start_ms),
            ),
            spreadRow(
              'ready until all connected, ms',
              rounds.map((round) => round.connected_ms),
            ),
            spreadRow(
              'ready until all acknowledged, ms',
              rounds.map((round) => round.converged_ms),
            ),
            spreadRow(
              'cp event loop delay p99, ms',
              rounds.map((round) => round.delay_p99_ms),
            ),
            spreadRow(
              'notices left over',
              rounds.map((round) => round.waiting),
            ),
          ],
        },
      ],
      goals: [],
      notes: [],
      raw: rounds,
    }
  },
}

async function measure(cp: ControlPlane, fleet: Fleet): Promise<Round> {
  const version = await uploadVersion(cp, 'fleet')
  const revision = await deploy(cp, 'fleet', version)
  await cp.kill()
  await fleet.until(() => fleet.nodes.every(({ mqtt }) => !mqtt.connected), 60_000)
  await Bun.sleep(awayMs)
  const startMs = await cp.start()
  const readyAt = performance.now()
  await fleet.until(() => fleet.nodes.every(({ mqtt }) => mqtt.connected), connectedMsMax)
  const connectedMs = performance.now() - readyAt
  const times = await fleet.acknowledgements(revision, readyAt, connectedMsMax)
  const delay = 1000 * (await cp.metric('edgefn_event_loop_delay_seconds', 'quantile="0.99"'))
  return {
    start_ms: startMs,
    connected_ms: connectedMs,
    converged_ms: Math.max(0, ...times),
    delay_p99_ms: delay,
    waiting: await cp.metric('edgefn_outbox_notices'),
  }
}
