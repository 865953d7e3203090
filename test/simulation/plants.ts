/** Defects that are planted to see that each invariant can fail. */

import type { Database } from '../../src/cp/db/database.ts'
import type { NodeState } from '../../src/edge/agent/node-state.ts'
import type { NodeId } from '../../src/protocol/ids.ts'
import type { SimulatedControlPlane } from './control-plane.ts'
import type { Promises } from './promises.ts'

/** The defects, and what is said when they are noticed. */
export const PLANTS = {
  'forgetful-node': ' lacks ',
  'older-revision': ' stepped back from ',
  'older-deployment': ' went back from ',
  'lost-deployment': ' was acknowledged and is lost',
  'wrong-version': ' should have ',
  'lost-route': ' was acknowledged and is lost',
  'resurrected-route': ' was removed and is there',
  'broken-endpoint': 'TypeError',
} as const
export type PlantName = keyof typeof PLANTS

export function isPlantName(text: string): text is PlantName {
  return Object.hasOwn(PLANTS, text)
}

export class Plant {
  readonly #name: PlantName | null
  readonly #random: () => number
  readonly #states = new Map<NodeId, NodeState[]>()

  /** Null plants nothing, and takes no random numbers. */
  constructor(name: PlantName | null, random: () => number) {
    this.#name = name
    this.#random = random
  }

  #strikes(name: PlantName, share: number): boolean {
    return this.#name === name && this.#random() < share
  }

  /** What a node finds on its disk when it starts. */
  found(state: NodeState): NodeState {
    return this.#strikes('forgetful-node', 0.5) ? { ...state, functions: new Map() } : state
  }

  /** What lies on a node's disk after it has saved. */
  saved(nodeId: NodeId, next: NodeState): NodeState {
    if (this.#name === null) return next
    const states = this.#states.get(nodeId) ?? []
    this.#states.set(nodeId, [...states, next])
    const earlier = states[Math.floor(this.#random() * states.length)]
    if (earlier === undefined) return next
    if (this.#strikes('older-revision', 0.2)) return earlier
    if (this.#strikes('older-deployment', 0.2)) return { ...next, functions: earlier.functions }
    return next
  }

  /** Runs instead of an endpoint. */
  breakEndpoint(): void {
    if (this.#strikes('broken-endpoint', 0.02)) throw new TypeError('This was planted.')
  }

  /** Changes the database behind the control plane's back. */
  async meddle({ base: { db } }: SimulatedControlPlane, promises: Promises): Promise<void> {
    const live = [...promises.routes].filter(([, { removal }]) => removal === 'no')
    const removed = [...promises.routes].filter(([, { removal }]) => removal === 'acknowledged')
    switch (this.#name) {
      case 'lost-deployment':
        return void (await db.run(
          `DELETE FROM deployments WHERE id = (SELECT value FROM json_each(?)
             WHERE value NOT IN (SELECT deployment_id FROM assignments) LIMIT 1)`,
          [JSON.stringify([...promises.deployments.keys()])],
        ))
      case 'wrong-version':
        return changeUnder(
          db,
          `UPDATE assignments SET version = version % 3 + 1, split = NULL, revision = ? WHERE removed = 0`,
        )
      case 'lost-route':
        return changeUnder(
          db,
          `UPDATE routes SET deleted_at = created_at, revision = ? WHERE id = ?`,
          live[0]?.[0] ?? '',
        )
      case 'resurrected-route':
        return changeUnder(
          db,
          `UPDATE routes SET deleted_at = NULL, revision = ? WHERE id = ?`,
          removed.at(-1)?.[0] ?? '',
        )
    }
  }
}

/** A change that nodes are told of as of any other, so that everybody agrees on what is wrong. */
function changeUnder(db: Database, change: string, ...values: string[]): Promise<void> {
  return db.write(async (tx) => {
    const row = await tx.get(
      'UPDATE revision_counter SET revision = revision + 1 RETURNING revision',
    )
    const revision = Number(row?.['revision'])
    await tx.run(change, [revision, ...values])
    await tx.run('UPDATE nodes SET desired_revision = ?', [revision])
  })
}
