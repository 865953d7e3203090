/** A TCP connection as the broker reads it: packets over the limit end it before they are held in memory. */

import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

import type { PacketGuard } from './packet-guard.ts'

export class GuardedConnection extends Duplex {
  readonly guard: PacketGuard
  readonly #socket: Socket

  constructor(socket: Socket, guard: PacketGuard) {
    super({ allowHalfOpen: false })
    this.guard = guard
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      if (!guard.accepts(chunk)) this.destroy(new Error('A packet is over the size limit.'))
      else if (!this.push(chunk)) socket.pause()
    })
    socket.on('end', () => this.push(null))
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => this.destroy())
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.#send(chunk, done)
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: (error?: Error) => void,
  ): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done)
  }

  override _final(done: (error?: Error) => void): void {
    this.#socket.end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }

  /** Done when the socket takes more; a peer that does not read holds only its own queue. */
  #send(bytes: Buffer, done: () => void): void {
    if (this.#socket.write(bytes)) done()
    else this.#socket.once('drain', done)
  }
}
