/** Requests with a payload: headers and a body to echo, JSON to transform. */

import { atLeast, type Goal } from '../goals.ts'
import { type BenchRequest, writeRequestScript } from '../request-script.ts'
import { measureRounds, rateRatio, type Load } from '../rounds.ts'
import { roundsTable } from '../rounds-table.ts'
import { assertAnswers, guestPath, withServers } from '../scenario.ts'
import type { Scenario, ScenarioResult } from '../scenario.ts'
import { Edgefn } from '../servers/edgefn.ts'
import { startBun, startWorkerd } from '../servers/peers.ts'

interface Payload {
  readonly name: string
  readonly about: string
  readonly guest: string
  readonly request: BenchRequest
  readonly answer: string
}

const FIELDS = Array.from({ length: 20 }, (_, index) => {
  const number = String(index + 1).padStart(2, '0')
  return [`x-field-${number}`, `value of field ${number}, some more`] as const
})
const ECHO_BODY = 'The quick brown fox jumps over the lazy dog 0123456789 +/.,;:!? '.repeat(16)

export const echo = payloadScenario({
  name: 'echo',
  about: '20 request headers and a body of 1 KiB, sent back',
  guest: 'bench-echo-c',
  request: { method: 'POST', headers: Object.fromEntries(FIELDS), body: ECHO_BODY },
  answer: FIELDS.map(([name, value]) => `${name}: ${value}\n`).join('') + ECHO_BODY,
})

interface Order {
  readonly id: number
  readonly customer: string
  readonly active: boolean
  readonly quantity: number
  readonly price_cents: number
  readonly tags: readonly string[]
  readonly note: string | null
}

/** About 10 KiB of JSON, always the same. */
const ORDERS: readonly Order[] = Array.from({ length: 67 }, (_, index) => ({
  id: 10_000 + index,
  customer: `Customer "${index * 7919}" \\ Zürich\n`,
  active: index % 3 !== 1,
  quantity: (index % 9) + 1,
  price_cents: 199 + ((index * 977) % 5000),
  tags: ['express', index % 2 === 0 ? 'gift' : 'regular'],
  note: index % 4 === 0 ? null : 'to the back door',
}))

export const transform = payloadScenario({
  name: 'transform',
  about: 'a JSON document of 10 KiB, read and answered with another',
  guest: 'bench-transform-rust',
  request: {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ orders: ORDERS }),
  },
  answer: transformed(),
})

function transformed(): string {
  const active = ORDERS.filter((order) => order.active).map((order) => ({
    id: order.id,
    customer: order.customer,
    total_cents: order.quantity * order.price_cents,
    tags: order.tags.map((tag) => tag.toUpperCase()),
  }))
  const sum = active.reduce((total, { total_cents }) => total + total_cents, 0)
  return JSON.stringify({ orders: active, count: active.length, sum_cents: sum })
}

function payloadScenario({ name, about, guest, request, answer }: Payload): Scenario {
  const path = `/${name}/x`
  const load: Load = { name: 'c=64', connections: 64, path }
  return {
    name,
    about,
    async run({ settings, dir, say }): Promise<ScenarioResult> {
      const script = writeRequestScript(dir, name, request)
      const module = guestPath(guest)
      const starts = [
        () => startBun(`${name}.js`),
        () => Edgefn.serving({ workers: 1 }, [{ name, module }]),
        () => startWorkerd(dir, { name: 'workerd WASM', script: 'guest.js', module }),
        () => startWorkerd(dir, { name: 'workerd JS', script: `${name}.js` }),
      ]
      say('starting four servers')
      const samples = await withServers(starts, async (servers) => {
        for (const server of servers) await assertAnswers(server, path, answer, request)
        say(`all answer the same; ${settings.rounds} rounds`)
        const contestants = servers.map((server) => ({ server, script }))
        return measureRounds(contestants, [load], settings)
      })
      const against = (peer: string) => rateRatio(samples, load.name, 'edgefn', peer)
      const goals: Goal[] = [atLeast(3, `${name}: req/s × workerd WASM`, against('workerd WASM'))]
      const size = `${request.body.length} bytes in, ${answer.length} out`
      const title = `${name} (${about}; ${size}), c=64`
      return {
        tables: [roundsTable(samples, load.name, 'Bun.serve', title)],
        goals,
        notes: [],
        raw: samples,
      }
    },
  }
}
