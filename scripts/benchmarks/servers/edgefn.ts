/** edgefn as its users run it: the built binary as a control plane and a node, functions deployed by the command line. */

import { ControlPlane, Node, until, World } from '../../../test/e2e/harness.ts'
import { noteRunning } from './running.ts'
import type { Server } from './server.ts'

/** Until a small module's full form is in service, on a machine that does something else beside it. */
const compiledMsMax = 120_000
let nodes = 0

export interface EdgefnOptions {
  readonly workers: number
  readonly name?: string
  /** Flags of `edgefn edge`. */
  readonly flags?: readonly string[]
}

export interface Deployment {
  readonly name: string
  /** Path of the module. */
  readonly module: string
  /** Flags of `edgefn deploy`; the route `/NAME/*` is always there. */
  readonly flags?: readonly string[]
}

export class Edgefn implements Server {
  readonly name: string
  readonly plane: ControlPlane
  readonly #world: World
  readonly #workers: number
  readonly #ended: () => void
  #node: Node

  private constructor(
    name: string,
    world: World,
    plane: ControlPlane,
    node: Node,
    workers: number,
  ) {
    this.name = name
    this.plane = plane
    this.#world = world
    this.#workers = workers
    this.#node = node
    this.#ended = noteRunning(this)
  }

  static async start({ workers, name = 'edgefn', flags = [] }: EdgefnOptions): Promise<Edgefn> {
    const world = new World()
    try {
      const plane = await (await ControlPlane.create(world)).start()
      const node = await startNode(world, plane, workers, flags)
      return new Edgefn(name, world, plane, node, workers)
    } catch (thrown) {
      await world.close()
      throw thrown
    }
  }

  /** Started, with these functions in their full compiled form. */
  static async serving(
    options: EdgefnOptions,
    deployments: readonly Deployment[],
  ): Promise<Edgefn> {
    const edgefn = await Edgefn.start(options)
    try {
      for (const deployment of deployments) await edgefn.deploy(deployment)
      await edgefn.compiled(deployments.length)
    } catch (thrown) {
      await edgefn.stop()
      throw thrown
    }
    return edgefn
  }

  get node(): Node {
    return this.#node
  }

  get url(): string {
    return this.#node.url
  }

  /** The node with all its processes; the control plane answers no requests and is not part of it. */
  get pids(): readonly number[] {
    return [this.#node.pid]
  }

  /** The processes that listen; the spare one is not among them. */
  workers(): readonly number[] {
    return this.#node.workers()
  }

  async deploy({ name, module, flags = [] }: Deployment): Promise<void> {
    await this.plane.run('deploy', module, '--name', name, '--route', `/${name}/*`, ...flags)
  }

  /** Waits until so many functions run in their full compiled form. */
  async compiled(functions: number, ms = compiledMsMax): Promise<void> {
    const count = async () =>
      (await this.#node.metric('edgefn_functions', 'form="O2"')) >= functions
    await until(`${functions} functions run compiled`, count, ms)
  }

  /** Waits until so many functions are in service, in whatever form. */
  async inService(functions: number, ms = compiledMsMax): Promise<void> {
    const served = async () => (await this.#series('edgefn_cold_starts_total')) >= functions
    await until(`${functions} functions are in service`, served, ms)
  }

  /** How many time series a metric has: of those of functions, one for each. */
  async #series(metric: string): Promise<number> {
    const text = await (await fetch(`${this.#node.ops}/metrics`)).text()
    return text.split('\n').filter((line) => line.startsWith(`${metric}{`)).length
  }

  /** Ends the node and puts another one in its place, which has never served the functions. */
  async replaceNode(flags: readonly string[]): Promise<void> {
    await this.#node.end()
    this.#node = await startNode(this.#world, this.plane, this.#workers, flags)
  }

  async stop(): Promise<void> {
    this.#ended()
    await this.#world.close()
  }
}

async function startNode(
  world: World,
  plane: ControlPlane,
  workers: number,
  flags: readonly string[],
): Promise<Node> {
  const id = `bench-${process.pid}-${(nodes += 1)}`
  // As a node has them by default.
  const calm = ['--heartbeat-interval', '30s', '--sync-interval', '30s']
  const given = ['--workers', String(workers), ...calm, ...flags]
  const node = await Node.create(world, plane, { id, pop: 'bench-1', flags: given })
  return node.start()
}
