/** One schedule: a control plane, nodes, a network, and what happens to them, all decided by a seed. */

import type { NodeState } from '../../src/edge/agent/node-state.ts'
import type { NodeId } from '../../src/protocol/ids.ts'
import type { Notice } from '../../src/protocol/messages.ts'
import type { Assignment } from '../../src/edge/table-parts.ts'
import { SimulatedControlPlane } from './control-plane.ts'
import { stepFault, tableFaults, type ServingStep } from './invariants.ts'
import { Network } from './network.ts'
import { SimulatedNode } from './node.ts'
import { Plant, type PlantName } from './plants.ts'
import type { Promises } from './promises.ts'
import type { Kind, Tally } from './tally.ts'
import { BAD_VERSION, FAULTY_FROM_VERSION, NODES } from './template.ts'
import { VirtualTime, type Owner } from './virtual-time.ts'

export class World {
  readonly time: VirtualTime
  readonly network: Network
  readonly nodes: readonly SimulatedNode[]
  readonly developer: Owner = { name: 'developer', alive: true }
  /** What went against an invariant, as it happened. */
  readonly violations: string[] = []
  /** What the developer was told. */
  readonly promises: Promises = { deployments: new Map(), routes: new Map() }
  readonly plant: Plant
  /** What happened, for whoever looks into a seed. */
  readonly history: string[] = []
  readonly #dir: string
  #cp: SimulatedControlPlane | null = null
  #starting: Promise<void> | null = null
  /** Nodes that cannot load the bad version, and nodes on which the newest versions answer with faults. */
  readonly #weak = new Set<NodeId>()
  readonly #faulty = new Set<NodeId>()
  /** Changes of what a node serves that are not judged yet. */
  #steps: ServingStep[] = []
  readonly tally: Tally

  constructor(seed: number, dir: string, tally: Tally, planted: PlantName | null) {
    this.#dir = dir
    this.tally = tally
    this.time = new VirtualTime(seed)
    const { random } = this.time
    this.plant = new Plant(planted, random)
    const hasTraffic = random() < 0.5
    this.network = new Network(this.time, {
      lost: random() * 0.2,
      doubled: random() * 0.2,
      delayMsMax: 5 + random() * 100,
      slow: random() * 0.05,
    })
    const around = {
      time: this.time,
      network: this.network,
      cp: () => this.#cp,
      loads: (id: NodeId, version: number) => version !== BAD_VERSION || !this.#weak.has(id),
      faults: (id: NodeId, version: number) => {
        if (!hasTraffic) return null
        return version >= FAULTY_FROM_VERSION && this.#faulty.has(id) ? 0.4 : 0
      },
      plant: this.plant,
      onServing: (node: SimulatedNode, before: NodeState) => this.#served(node, before),
      onTable: (node: SimulatedNode, table: Assignment) =>
        this.violations.push(...tableFaults(table).map((fault) => `${node.id}: ${fault}`)),
    }
    this.nodes = NODES.map(({ id }) => new SimulatedNode(id, around))
    for (const { id } of NODES) {
      if (random() < 0.2) this.#weak.add(id)
      if (random() < 0.4) this.#faulty.add(id)
    }
  }

  get cp(): SimulatedControlPlane | null {
    return this.#cp
  }

  note(text: string): void {
    this.history.push(`${(this.time.now / 1000).toFixed(3).padStart(9)} s  ${text}`)
  }

  /** Does nothing when it runs; one start at a time. */
  startControlPlane(): Promise<void> {
    this.#starting ??= this.time.hold(this.#start()).finally(() => (this.#starting = null))
    return this.#starting
  }

  async #start(): Promise<void> {
    if (this.#cp !== null) return
    this.note('cp starts')
    this.#cp = await SimulatedControlPlane.start(this.#dir, this.time, {
      send: (nodeId, notice) => this.#sendNotice(nodeId, notice),
      beforeRequest: () => this.plant.breakEndpoint(),
      onAnswer: (_, path) => {
        if (path === '/nodes/:id/telemetry') this.tally.count('telemetry')
      },
      onFault: (text) => this.violations.push(text),
    })
    for (const node of this.nodes) if (node.alive) node.connect()
  }

  #sendNotice(nodeId: NodeId, notice: Notice): void {
    const node = this.nodes.find(({ id }) => id === nodeId)
    const { owner } = this.#cp ?? { owner: this.developer }
    if (node === undefined) return
    this.network.send(
      owner,
      () => node.owner,
      () => node.noticed(notice.notice_id),
    )
  }

  async crashControlPlane(): Promise<void> {
    const cp = this.#cp
    if (cp === null) return
    this.note('cp crashes')
    this.#cp = null
    await this.time.hold(cp.crash())
  }

  /** Asks the control plane as the developer does; null when the answer did not come or was a refusal, else it is counted. */
  async ask(
    kind: Kind,
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    params: Readonly<Record<string, string>>,
    body?: unknown,
  ): Promise<Record<string, unknown> | null> {
    const caller = { kind: 'user', key_id: 'k', name: 'developer', role: 'owner' } as const
    try {
      const answer = await this.network.call(
        this.developer,
        () => this.#cp?.owner ?? null,
        async () => this.#cp?.call(method, path, { caller, params, body }),
      )
      this.note(`${method} ${path} ${JSON.stringify(params)} ${JSON.stringify(body)} is done`)
      this.tally.count(kind)
      return (answer ?? {}) as Record<string, unknown>
    } catch (thrown) {
      this.note(`${method} ${path} ${JSON.stringify(body)}: ${String(thrown)}`)
      return null
    }
  }

  /** Judges what nodes went over to: back to an older deployment only when the newer one was taken back or has failed. */
  async judgeSteps(): Promise<void> {
    const cp = this.#cp
    if (cp === null || this.#steps.length === 0) return
    const steps = this.#steps
    this.#steps = []
    try {
      for (const step of steps) {
        const fault = await stepFault(cp.base.db, step)
        if (fault !== null) this.violations.push(fault)
      }
    } catch (thrown) {
      if (cp.owner.alive) throw thrown
      this.#steps.unshift(...steps)
    }
  }

  #served(node: SimulatedNode, before: NodeState): void {
    const after = node.state
    if (after.revision !== before.revision) {
      const versions = [...after.functions.values()].map(({ serving, pending }) => {
        return `${serving?.name ?? pending?.name}@${serving?.version ?? '-'}`
      })
      this.note(`${node.id} is at ${after.revision}: ${versions.join(' ')}`)
    }
    for (const [functionId, { serving }] of after.functions) {
      const from = before.functions.get(functionId)?.serving?.deployment_id
      const to = serving?.deployment_id
      if (from === undefined || to === undefined || from === to) continue
      this.#steps.push({ node_id: node.id, from, to })
    }
    void this.judgeSteps()
    if (after.revision < before.revision) {
      this.violations.push(`${node.id} stepped back from ${before.revision} to ${after.revision}`)
    }
  }
}
