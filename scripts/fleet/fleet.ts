/** Many simulated nodes of one control plane: registering them, and waiting for what they do. */

import { nodeCredentialsSchema, type NodeCredentials } from '../../src/protocol/api.ts'
import { ControlPlane } from './control-plane.ts'
import { SimulatedNode } from './simulated-node.ts'

/** Nodes that register at the same time. */
const registeringMax = 32

export interface FleetOptions {
  readonly nodes: number
  readonly heartbeat_ms: number
  readonly syncs: boolean
}

export class Fleet {
  readonly nodes: readonly SimulatedNode[]
  /** When each node's acknowledgement of a revision was taken (performance.now), by node; the newest revision counts. */
  readonly #acknowledged = new Map<string, { revision: number; at: number }>()

  private constructor(
    cp: ControlPlane,
    credentials: readonly NodeCredentials[],
    { heartbeat_ms, syncs }: FleetOptions,
  ) {
    this.nodes = credentials.map(
      (of) =>
        new SimulatedNode({
          cp: cp.url,
          credentials: of,
          heartbeat_ms,
          syncs,
          onAcknowledged: ({ id }, { revision }) =>
            this.#acknowledged.set(id, { revision, at: performance.now() }),
        }),
    )
  }

  /** Enrols the nodes as real ones are, each with a join token of its own. */
  static async enrol(cp: ControlPlane, options: FleetOptions): Promise<Fleet> {
    const credentials: NodeCredentials[] = []
    let next = 0
    const worker = async () => {
      while (next < options.nodes) {
        const pop = `pop-${next++ % 100}`
        credentials.push(await enrol(cp, pop))
      }
    }
    await Promise.all(Array.from({ length: registeringMax }, worker))
    return new Fleet(cp, credentials, options)
  }

  /** Opens all nodes within `overMs`, and resolves when every one is connected to the broker. */
  async open(overMs: number, connectedMsMax = 120_000): Promise<void> {
    const pauseMs = overMs / this.nodes.length
    let owedMs = 0
    for (const node of this.nodes) {
      node.open()
      owedMs += pauseMs
      if (owedMs < 5) continue
      await Bun.sleep(owedMs)
      owedMs = 0
    }
    await this.until(() => this.nodes.every(({ mqtt }) => mqtt.connected), connectedMsMax)
  }

  /** Milliseconds from `since` until each node's acknowledgement of at least `revision` was taken; waits for all of them. */
  async acknowledgements(revision: number, since: number, msMax = 120_000): Promise<number[]> {
    const times = () =>
      this.nodes.flatMap(({ id }) => {
        const last = this.#acknowledged.get(id)
        return last !== undefined && last.revision >= revision ? [last.at - since] : []
      })
    await this.until(() => times().length === this.nodes.length, msMax)
    return times()
  }

  async until(holds: () => boolean, msMax: number): Promise<void> {
    const deadline = performance.now() + msMax
    while (!holds()) {
      if (performance.now() > deadline) throw new Error(`It did not come within ${msMax} ms.`)
      await Bun.sleep(20)
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.close()))
  }
}

/** Starts a control plane and enrols a fleet, hands both over, and ends them in any case. */
export async function withFleet<T>(
  options: FleetOptions,
  use: (cp: ControlPlane, fleet: Fleet) => Promise<T>,
): Promise<T> {
  const cp = await ControlPlane.create()
  let fleet: Fleet | null = null
  try {
    await cp.start()
    fleet = await Fleet.enrol(cp, options)
    return await use(cp, fleet)
  } finally {
    await fleet?.close()
    await cp.remove()
  }
}

async function enrol(cp: ControlPlane, popId: string): Promise<NodeCredentials> {
  const { token } = await cp.call('POST', '/join-tokens', { pop_id: popId, ttl_seconds: 600 })
  const response = await fetch(`${cp.url}/api/v1/nodes/register`, {
    method: 'POST',
    headers: { authorization: `Bearer ${String(token)}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      pop_id: popId,
      version: 'simulated',
      os: 'linux',
      arch: 'x64',
      http_port: 8787,
    }),
  })
  if (!response.ok) throw new Error(`A node could not register: ${await response.text()}`)
  return nodeCredentialsSchema.parse(await response.json())
}
