/** edgefn as its users run it: the built binary as a control plane and a node, functions deployed by the command line. */

import { ControlPlane, Node, until, World } from '../../../test/e2e/harness.ts'
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

export class Edgefn implements Server {
  readonly name: string
  readonly url: string
  readonly plane: ControlPlane
  readonly node: Node
  readonly #world: World
  #deployed = 0

  private constructor(name: string, world: World, plane: ControlPlane, node: Node) {
    this.name = name
    this.url = node.url
    this.plane = plane
    this.node = node
    this.#world = world
  }

  static async start({ workers, name = 'edgefn', flags = [] }: EdgefnOptions): Promise<Edgefn> {
    const world = new World()
    try {
      const plane = await (await ControlPlane.create(world)).start()
      const id = `bench-${process.pid}-${(nodes += 1)}`
      // As a node has them by default.
      const calm = ['--heartbeat-interval', '30s', '--sync-interval', '30s']
      const given = ['--workers', String(workers), ...calm, ...flags]
      const node = await Node.create(world, plane, { id, pop: 'bench-1', flags: given })
      await node.start()
      return new Edgefn(name, world, plane, node)
    } catch (thrown) {
      await world.close()
      throw thrown
    }
  }

  /** The node with all its processes; the control plane answers no requests and is not part of it. */
  get pids(): readonly number[] {
    return [this.node.pid]
  }

  /** The processes that listen; the spare one is not among them. */
  workers(): readonly number[] {
    return this.node.workers()
  }

  async deploy(name: string, module: string, ...flags: string[]): Promise<void> {
    await this.plane.run('deploy', module, '--name', name, ...flags)
    this.#deployed += 1
  }

  /** Waits until all functions that were deployed run in their full compiled form. */
  async compiled(functions = this.#deployed, ms = compiledMsMax): Promise<void> {
    const count = async () => (await this.node.metric('edgefn_functions', 'form="O2"')) >= functions
    await until(`${functions} functions run compiled`, count, ms)
  }

  async stop(): Promise<void> {
    await this.#world.close()
  }
}
