/** Requests at a steady rate, whatever the answers do: who waits for a slow answer before asking again never sees the queue. */

import { LatencyClient } from './latency-client.ts'

export interface PacedLoad {
  readonly url: string
  readonly path: string
  readonly expected: string
  readonly connections: number
  readonly requestsPerSecond: number
  readonly seconds: number
}

export interface PacedReport {
  /** From the moment at which the request was due, which is before it was sent when all connections were waiting. */
  readonly micros: readonly number[]
  readonly errors: readonly string[]
}

export async function runPaced(load: PacedLoad): Promise<PacedReport> {
  const { url, path, expected, connections, requestsPerSecond, seconds } = load
  const clients = await Promise.all(
    Array.from({ length: connections }, () => LatencyClient.connect(url)),
  )
  const micros: number[] = []
  const errors: string[] = []
  const idle = [...clients]
  const due: number[] = []
  const send = async (client: LatencyClient, dueAt: number): Promise<void> => {
    try {
      const { status, body } = await client.get(path)
      if (status === 200 && body === expected) micros.push((Bun.nanoseconds() - dueAt) / 1000)
      else errors.push(`${status} ${body.slice(0, 200)}`)
    } catch (thrown) {
      errors.push(String(thrown))
      return // The connection is lost.
    }
    const next = due.shift()
    if (next === undefined) idle.push(client)
    else await send(client, next)
  }
  const everyMs = 1000 / requestsPerSecond
  const startedAt = performance.now()
  const running: Promise<void>[] = []
  for (let count = 0; count < requestsPerSecond * seconds; count++) {
    await Bun.sleep(Math.max(startedAt + count * everyMs - performance.now(), 0))
    const client = idle.shift()
    if (client === undefined) due.push(Bun.nanoseconds())
    else running.push(send(client, Bun.nanoseconds()))
  }
  await Promise.all(running)
  for (const dropped of due) errors.push(`never sent, due at ${dropped}`)
  for (const client of clients) client.close()
  return { micros, errors }
}
