/** The smallest answer: what a request costs when the function does nothing. */

import { atLeast, atMost } from '../goals.ts'
import { measureRounds, rateRatio, summarise, type Load, type Sample } from '../rounds.ts'
import { roundsTable } from '../rounds-table.ts'
import { assertAnswers, guestPath, withServers } from '../scenario.ts'
import type { Bench, Scenario, ScenarioResult } from '../scenario.ts'
import { Edgefn } from '../servers/edgefn.ts'
import { startBun, startNginx, startNodeHttp, startWorkerd } from '../servers/peers.ts'
import type { Server } from '../servers/server.ts'

const ANSWER = 'Hello, edge!\n'
const PATH = '/hello/world'
const C64: Load = { name: 'c=64', connections: 64, path: PATH }
const C8: Load = { name: 'c=8', connections: 8, path: PATH }
/** One and two processes in the same rounds. */
const PAIRS: Load = { name: 'two processes, c=64', connections: 64, path: PATH }
const REFERENCE = 'Bun.serve'

export const hello: Scenario = {
  name: 'hello',
  about: 'a 13-byte answer, one process each; then two',
  async run(bench) {
    const single = await measureSingle(bench)
    const pairs = await measurePairs(bench)
    const samples = [...single, ...pairs]
    return { ...reportOf(samples), raw: samples }
  },
}

/** edgefn with `hello` in its full compiled form. */
export function startHello(workers: number, name = 'edgefn'): Promise<Edgefn> {
  return Edgefn.serving({ workers, name }, [{ name: 'hello', module: guestPath('hello-c') }])
}

async function measureSingle({ settings, dir, say }: Bench): Promise<Sample[]> {
  const starts = [
    () => startBun('hello.js'),
    () => startBun('hello-read.js', 1, 'Bun.serve, read'),
    () => startHello(1),
    () => startWorkerd(dir, { name: 'workerd JS', script: 'hello.js' }),
    () => {
      const module = guestPath('hello-c')
      return startWorkerd(dir, { name: 'workerd WASM', script: 'guest.js', module })
    },
    () => startNodeHttp(),
    () => startNginx(dir, ANSWER),
  ]
  say('starting seven servers')
  return withServers(starts, (servers) => measure(servers, [C64, C8], settings, say))
}

async function measurePairs({ settings, say }: Bench): Promise<Sample[]> {
  const starts = [
    () => startBun('hello.js'),
    () => startHello(1),
    () => startBun('hello.js', 2),
    () => startHello(2, '2 × edgefn'),
  ]
  say('starting one and two processes of Bun.serve and edgefn')
  return withServers(starts, (servers) => measure(servers, [PAIRS], settings, say))
}

async function measure(
  servers: readonly Server[],
  loads: readonly Load[],
  settings: Bench['settings'],
  say: Bench['say'],
): Promise<Sample[]> {
  for (const server of servers) await assertAnswers(server, PATH, ANSWER)
  say(`all answer the same; ${settings.rounds} rounds`)
  return measureRounds(
    servers.map((server) => ({ server })),
    loads,
    settings,
  )
}

function reportOf(samples: readonly Sample[]): Omit<ScenarioResult, 'raw'> {
  const tables = [C64, C8, PAIRS].map(({ name }) =>
    roundsTable(samples, name, REFERENCE, `hello, ${name}`),
  )
  const goals = [C64, C8].flatMap(({ name }) => {
    const edgefn = summarise(samples, name, REFERENCE).find(({ server }) => server === 'edgefn')
    const against = (peer: string) => rateRatio(samples, name, 'edgefn', peer)
    return [
      atLeast(0.92, `hello ${name}: req/s × plain Bun.serve`, edgefn?.rateRatio ?? null),
      atMost(1.12, `hello ${name}: CPU/request × plain Bun.serve`, edgefn?.cpuRatio ?? null),
      atLeast(
        0.92,
        `hello ${name}: req/s × Bun.serve that reads as much`,
        against('Bun.serve, read'),
      ),
      atLeast(4, `hello ${name}: req/s × workerd JS`, against('workerd JS')),
      atLeast(4, `hello ${name}: req/s × workerd WASM`, against('workerd WASM')),
    ]
  })
  const scaling = (one: string) => rateRatio(samples, PAIRS.name, `2 × ${one}`, one)
  const scaled = scaling('edgefn') / scaling('Bun.serve')
  goals.push(atLeast(0.95, 'hello: gain by a second worker × gain by a second Bun.serve', scaled))
  const wasmtime = atLeast(1, 'hello: req/s × Bun + wasmtime pooled', null)
  goals.push({ ...wasmtime, why: 'no wasmtime library to be had' })
  const notes = [
    `A second process: Bun.serve × ${scaling('Bun.serve').toFixed(2)}, edgefn × ${scaling('edgefn').toFixed(2)}, with wrk on the same processors.`,
    'Bun + wasmtime pooled is left out: neither Debian nor npm has the wasmtime C library.',
  ]
  return { tables, goals, notes }
}
