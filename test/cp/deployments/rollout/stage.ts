/** Rollouts on a real database with a clock, samples and drivers of the test's own. */

import { RolloutDriver } from '../../../../src/cp/deployments/rollout/driver.ts'
import type { DeploymentService } from '../../../../src/cp/deployments/service.ts'
import type { VersionSample } from '../../../../src/cp/lookup.ts'
import { deploymentCreationSchema, type DeploymentView } from '../../../../src/protocol/api.ts'
import type { DeploymentId, FunctionId, NodeId } from '../../../../src/protocol/ids.ts'
import { createLog } from '../../../../src/telemetry/log.ts'
import { LATENCY_BUCKETS } from '../../../../src/telemetry/metrics.ts'
import { ackOf } from '../../api/test-plane.ts'
import { developer, slices } from '../slices.ts'

type Calls = { readonly requests: number; readonly errors: number }

export async function stage() {
  const s = await slices()
  const clock = { monotonic_ms: 0, wall_ms: Date.now() }
  const calls = new Map<string, Calls>()
  const complaints: string[] = []
  const reads: number[] = []

  let places = 0
  function driver(): RolloutDriver {
    places += 1
    const { nextRevision, enqueueNotices } = s.outbox
    return new RolloutDriver({
      db: s.db,
      log: createLog({
        component: 'cp',
        level: 'warn',
        pretty: false,
        write: (line) => complaints.push(line),
      }),
      place: `place-${places}`,
      nextRevision,
      enqueueNotices,
      recordEvent: async (_tx, event) => () => void s.events.push(event),
      versionSamples: async (_sql, { version, node_ids }) => {
        reads.push(clock.monotonic_ms)
        return node_ids.flatMap((node) => sampleOf(node, calls.get(`${node} v${version}`)))
      },
      monotonicMs: () => clock.monotonic_ms,
      now: () => clock.wall_ms,
    })
  }
  const first = driver()

  return {
    ...s,
    clock,
    complaints,
    /** When samples were read. */
    reads,
    driver,

    deploy: (
      fields: Record<string, unknown>,
      name = 'f',
    ): ReturnType<DeploymentService['deploy']> =>
      s.deployments.deploy(developer, name, deploymentCreationSchema.parse(fields)),
    show: (id: DeploymentId): Promise<DeploymentView> => s.deployments.get(id),

    /** What the nodes report from now on of a version. */
    report(node: NodeId, version: number, requests: number, errors: number): void {
      calls.set(`${node} v${version}`, { requests, errors })
    },

    /** Time passes, look by look. */
    async pass(seconds: number, by: RolloutDriver = first): Promise<void> {
      await by.look()
      for (let half = 0; half < 2 * seconds; half += 1) {
        clock.monotonic_ms += 500
        clock.wall_ms += 500
        await by.look()
      }
    },

    /** The nodes pull their plans and report that all of it works, or that nothing does. */
    async sync(nodes: readonly NodeId[], state: 'deployed' | 'failed' = 'deployed') {
      for (const node of nodes) {
        const ack = ackOf(await s.sync.plan(node, 0))
        const error = { code: 'function_load_failed', message: 'It did not load.' }
        const results = ack.results.map((result) =>
          state === 'failed' ? { ...result, state, error } : result,
        )
        await s.sync.acknowledge(node, { ...ack, results })
      }
    },

    setStatus: (node: NodeId, status: 'online' | 'offline') =>
      s.db.run('UPDATE nodes SET status = ? WHERE id = ?', [status, node]),

    /** `node vN` of every node that is to serve the function, in order of the nodes. */
    async assigned(functionId: FunctionId): Promise<string[]> {
      const rows = await s.db.all(
        `SELECT node_id, version FROM assignments WHERE function_id = ? AND removed = 0 ORDER BY node_id`,
        [functionId],
      )
      return rows.map((row) => `${row['node_id']} v${row['version']}`)
    },
  }
}

export type Stage = Awaited<ReturnType<typeof stage>>

function sampleOf(node_id: NodeId, calls: Calls | undefined): VersionSample[] {
  if (calls === undefined) return []
  const buckets = LATENCY_BUCKETS.map((_, index) => (index === 3 ? calls.requests : 0))
  return [{ node_id, ...calls, buckets: [...buckets, 0] }]
}
