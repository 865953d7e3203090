/** A hundred calls at once of a function that waits 50 ms for somebody else. */

import { atMost } from '../goals.ts'
import { LatencyClient } from '../latency-client.ts'
import { guestPath, withServers } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'
import { Edgefn } from '../servers/edgefn.ts'
import { startBun } from '../servers/peers.ts'
import { median, spread } from '../statistics.ts'
import { figure, type Table } from '../table.ts'

const SLEEP_MS = 50
const SLEEPERS = 100
/** Rounds for each of `--rounds`: one is a tenth of a second. */
const roundsFactor = 4

export const sleepers: Scenario = {
  name: 'sleepers',
  about: `${SLEEPERS} connections at once to a function that waits ${SLEEP_MS} ms in http_fetch`,
  async run({ settings, say }) {
    return withServers([() => startBun('slow.js')], async ([slow]) => {
      if (slow === undefined) throw new Error('No server.')
      const { host } = new URL(slow.url)
      const flags = ['--allow-http', host, '--env', `TARGET=${slow.url}/`]
      const sleeper = { name: 'sleeper', module: guestPath('bench-sleeper-c'), flags }
      const allowed = ['--fetch-allow-private', '127.0.0.0/8']
      const cases: Record<string, number[]> = { 'slow server itself': [] }
      for (const workers of [1, 2]) {
        const name = `edgefn, ${workers} workers`
        say(name)
        const edgefn = await Edgefn.serving({ workers, flags: allowed }, [sleeper])
        try {
          const taken: number[] = []
          for (let round = 0; round < settings.rounds * roundsFactor; round++) {
            cases['slow server itself']?.push(await allAnswered(slow.url, '/'))
            taken.push(await allAnswered(edgefn.url, '/sleeper/x'))
          }
          // The first round starts threads and instances.
          cases[`${name}, first round`] = taken.slice(0, 1)
          cases[name] = taken.slice(1)
        } finally {
          await edgefn.stop()
        }
      }
      const table: Table = {
        title: `${SLEEPERS} concurrent calls, ms until all are answered`,
        head: ['who', 'rounds', 'median', 'min', 'max'],
        rows: Object.entries(cases).map(([name, taken]) => {
          const { median: middle, min, max } = spread(taken)
          return [name, String(taken.length), figure(middle), figure(min), figure(max)]
        }),
      }
      const reached = median(cases['edgefn, 1 workers'] ?? [])
      const text = `sleepers: ${SLEEPERS} that wait ${SLEEP_MS} ms, until all are answered, one worker`
      return {
        tables: [table],
        goals: [atMost(2 * SLEEP_MS, text, reached, 'ms')],
        notes: [],
        raw: cases,
      }
    })
  },
}

/** Milliseconds from the first request of all connections to the last answer. */
async function allAnswered(url: string, path: string): Promise<number> {
  const clients = await Promise.all(
    Array.from({ length: SLEEPERS }, () => LatencyClient.connect(url)),
  )
  try {
    const startedAt = performance.now()
    const answers = await Promise.all(clients.map((client) => client.get(path)))
    const takenMs = performance.now() - startedAt
    const wrong = answers.find(({ status, body }) => status !== 200 || body !== 'slept\n')
    if (wrong !== undefined) throw new Error(`${url}${path}: ${wrong.status} ${wrong.body}`)
    return takenMs
  } finally {
    for (const client of clients) client.close()
  }
}
