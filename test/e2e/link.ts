/** A TCP proxy that a test puts in front of a server and cuts: it then takes bytes, and connections, and passes nothing on. */

import { connect, createServer, type Server, type Socket } from 'node:net'

import { freePort, type World } from './harness.ts'

/** Which way nothing is passed on: to the server, from it, or both. */
export type Cut = 'none' | 'up' | 'down' | 'both'

export class Link {
  readonly port: number
  /** Where new connections go. */
  serverPort: number
  readonly #server: Server
  readonly #ends: { readonly from: Socket; readonly to: Socket; readonly way: 'up' | 'down' }[] = []
  #cut: Cut = 'none'

  private constructor(port: number, serverPort: number) {
    this.port = port
    this.serverPort = serverPort
    this.#server = createServer((client) => {
      const server = connect({ host: '127.0.0.1', port: this.serverPort })
      this.#pass(client, server, 'up')
      this.#pass(server, client, 'down')
    })
  }

  static async to(world: World, serverPort: number): Promise<Link> {
    const link = new Link(await freePort(), serverPort)
    await new Promise<void>((done) => link.#server.listen(link.port, '127.0.0.1', done))
    world.onClose(() => link.#close())
    return link
  }

  /** What was sent meanwhile stays where it is until the link is whole again, as with a cable: nobody is told of an end. */
  set cut(cut: Cut) {
    this.#cut = cut
    for (const { from, way } of this.#ends) {
      if (this.#isCut(way)) from.pause()
      else from.resume()
    }
  }

  #isCut(way: 'up' | 'down'): boolean {
    return this.#cut === 'both' || this.#cut === way
  }

  #pass(from: Socket, to: Socket, way: 'up' | 'down'): void {
    this.#ends.push({ from, to, way })
    from.on('data', (bytes: Buffer) => to.write(bytes))
    from.on('end', () => to.end())
    from.on('error', () => to.destroy())
    from.on('close', () => to.destroy())
    if (this.#isCut(way)) from.pause()
  }

  async #close(): Promise<void> {
    for (const { from, to } of this.#ends) {
      from.destroy()
      to.destroy()
    }
    await new Promise((done) => this.#server.close(done))
  }
}
