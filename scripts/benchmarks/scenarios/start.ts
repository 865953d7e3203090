/** A node that starts with all it needs on its disk: from the start of its process to the first answer of a function. */

import { atMost } from '../goals.ts'
import { guestPath } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'
import { Edgefn } from '../servers/edgefn.ts'
import { median, spread } from '../statistics.ts'
import { figure, type Table } from '../table.ts'

/** Starts for each of `--rounds`. */
const startsFactor = 3
const answerMsMax = 30_000
/** Milliseconds between tries while nothing listens. */
const tryEveryMs = 1

export const start: Scenario = {
  name: 'start',
  about: "from the start of a node's process to the first answer of a function, all cached",
  async run({ settings, say }) {
    const hello = { name: 'hello', module: guestPath('hello-c') }
    const cases: Record<string, number[]> = {}
    for (const workers of [1, 2]) {
      say(`starting a node of ${workers} workers again and again`)
      const edgefn = await Edgefn.serving({ workers }, [hello])
      try {
        const taken: number[] = []
        for (let round = 0; round < settings.rounds * startsFactor; round++) {
          taken.push(await restart(edgefn))
        }
        cases[`${workers} workers`] = taken
      } finally {
        await edgefn.stop()
      }
    }
    const table: Table = {
      title: 'start of a node, ms from its process to the first answer of a function',
      head: ['node', 'starts', 'median', 'min', 'max'],
      rows: Object.entries(cases).map(([name, taken]) => {
        const { median: middle, min, max } = spread(taken)
        return [name, String(taken.length), figure(middle), figure(min), figure(max)]
      }),
    }
    const reached = median(cases['1 workers'] ?? [])
    const goals = [
      atMost(150, 'node start to the first answer of a function, median', reached, 'ms'),
    ]
    return { tables: [table], goals, notes: [], raw: cases }
  },
}

/** Milliseconds until the first answer with 200. */
async function restart({ node }: Edgefn): Promise<number> {
  await node.stop('SIGTERM')
  const startedAt = performance.now()
  const started = node.start()
  const takenMs = await firstAnswer(`${node.url}/hello/x`, startedAt)
  await started
  return takenMs
}

async function firstAnswer(url: string, startedAt: number): Promise<number> {
  for (;;) {
    const takenMs = performance.now() - startedAt
    if (takenMs > answerMsMax) throw new Error(`${url} did not answer within ${answerMsMax} ms.`)
    try {
      const response = await fetch(url)
      await response.arrayBuffer()
      if (response.ok) return performance.now() - startedAt
    } catch {
      // Nothing listens yet.
    }
    await Bun.sleep(tryEveryMs)
  }
}
