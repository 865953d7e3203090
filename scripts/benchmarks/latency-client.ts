/** A client of one connection that says how long each answer took, from the request's first byte to the answer's last. */

import type { Socket } from 'bun'

export interface TimedAnswer {
  readonly status: number
  readonly body: string
  readonly micros: number
}

interface Waiting {
  readonly startedAt: number
  readonly settle: (answer: TimedAnswer) => void
  readonly fail: (reason: Error) => void
}

export class LatencyClient {
  readonly #host: string
  #socket: Socket | null = null
  #received = ''
  #waiting: Waiting | null = null

  private constructor(url: string) {
    this.#host = new URL(url).host
  }

  static async connect(url: string): Promise<LatencyClient> {
    const client = new LatencyClient(url)
    const { hostname, port } = new URL(url)
    const lost = () => client.#fail('The connection was closed.')
    client.#socket = await Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        data: (_socket, bytes) => client.#take(bytes),
        close: lost,
        end: lost,
        error: (_socket, error) => client.#fail(error.message),
      },
    })
    return client
  }

  /** One request at a time. Throws when the connection is lost. */
  get(path: string): Promise<TimedAnswer> {
    return new Promise((settle, fail) => {
      this.#received = ''
      this.#waiting = { startedAt: Bun.nanoseconds(), settle, fail }
      this.#socket?.write(`GET ${path} HTTP/1.1\r\nHost: ${this.#host}\r\n\r\n`)
    })
  }

  close(): void {
    this.#waiting = null
    this.#socket?.end()
  }

  #take(bytes: Buffer): void {
    this.#received += bytes.toString('latin1')
    const answer = parseAnswer(this.#received)
    const waiting = this.#waiting
    if (answer === null || waiting === null) return
    const micros = (Bun.nanoseconds() - waiting.startedAt) / 1000
    this.#waiting = null
    waiting.settle({ ...answer, micros })
  }

  #fail(reason: string): void {
    this.#waiting?.fail(new Error(reason))
    this.#waiting = null
  }
}

/** Status and body of an answer that is whole; null while it is not. Throws when it does not say its length. */
export function parseAnswer(received: string): Omit<TimedAnswer, 'micros'> | null {
  const end = received.indexOf('\r\n\r\n')
  if (end < 0) return null
  const length = /^content-length: *(\d+)$/im.exec(received.slice(0, end))?.[1]
  if (length === undefined) throw new Error(`No length is given: ${received.slice(0, end)}`)
  const body = received.slice(end + 4)
  if (body.length < Number(length)) return null
  return { status: Number(received.slice(9, 12)), body }
}
