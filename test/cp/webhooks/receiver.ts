/** A receiver of webhooks as somebody else would write one, with the signature checked by other means than it is made with. */

import { createHmac, timingSafeEqual } from 'node:crypto'

export interface Received {
  readonly delivery_id: string
  readonly kind: string
  readonly seq: number
  readonly event: Readonly<Record<string, unknown>>
  /** Whether the signature is that of the secret. */
  readonly genuine: boolean
  readonly headers: Readonly<Record<string, string>>
  readonly at: number
}

export interface Receiver extends AsyncDisposable {
  readonly url: string
  readonly received: Received[]
  /** Set once the webhook is made. */
  secret: string
  /** What to answer; by default 200. */
  answer: (request: Received) => Response | Promise<Response>
}

export function receiver(port = 0): Receiver {
  const received: Received[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port,
    idleTimeout: 60,
    async fetch(request) {
      const text = await request.text()
      const headers = Object.fromEntries(request.headers)
      const body = JSON.parse(text) as Omit<Received, 'genuine' | 'headers' | 'at'>
      const genuine = isGenuine(headers['x-edgefn-signature'] ?? '', text, state.secret)
      const item = { ...body, genuine, headers, at: performance.now() }
      received.push(item)
      return state.answer(item)
    },
  })
  const state: Receiver = {
    url: `http://127.0.0.1:${server.port}/hook`,
    received,
    secret: '',
    answer: () => new Response('thanks'),
    [Symbol.asyncDispose]: () => server.stop(true),
  }
  return state
}

/** As docs/EVENTS.md tells receivers to. */
function isGenuine(header: string, body: string, secret: string): boolean {
  const [, time = '', signature = ''] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(header) ?? []
  if (Math.abs(Date.now() / 1000 - Number(time)) > 300) return false
  const expected = createHmac('sha256', secret).update(`${time}.${body}`).digest()
  const got = Buffer.from(signature, 'hex')
  return got.length === expected.length && timingSafeEqual(got, expected)
}
