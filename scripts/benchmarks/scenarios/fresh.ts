/** Answers from clean state: WAGI, which has a fresh instance for each request, and the edgefn ABI where it offers that. */

import { BINARY } from '../../../test/e2e/harness.ts'
import { atLeast } from '../goals.ts'
import { measureRounds, summarise, type Load } from '../rounds.ts'
import { roundsTable } from '../rounds-table.ts'
import { assertAnswers, guestPath, withServers } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'
import { Edgefn } from '../servers/edgefn.ts'
import { startBun } from '../servers/peers.ts'
import type { Server } from '../servers/server.ts'

const ANSWER = 'Hello, edge!\n'
const REFERENCE = 'Bun.serve'
const LOAD: Load = { name: 'c=64', connections: 64, path: '/' }

export const wagi: Scenario = {
  name: 'wagi',
  about: 'hello from a fresh instance for each request',
  async run({ settings, say }) {
    const offered = offersIsolation()
    const kept = { name: 'hello', module: guestPath('hello-c') }
    const command = { name: 'wagi', module: guestPath('wagi-hello-c') }
    const clean = { name: 'clean', module: guestPath('hello-c'), flags: ['--isolation', 'request'] }
    say('starting Bun.serve and edgefn')
    const starts = [
      () => startBun('hello.js'),
      () => Edgefn.serving({ workers: 1 }, [kept, command, ...(offered ? [clean] : [])]),
    ]
    const samples = await withServers(starts, async ([bun, edgefn]) => {
      if (bun === undefined || edgefn === undefined) throw new Error('No servers.')
      const contestants = [
        { server: bun },
        { server: named(edgefn, 'edgefn WAGI'), path: '/wagi/x' },
        ...(offered ? [{ server: named(edgefn, 'edgefn clean'), path: '/clean/x' }] : []),
        { server: named(edgefn, 'edgefn kept'), path: '/hello/x' },
      ]
      for (const { server, path = LOAD.path } of contestants) {
        await assertAnswers(server, path, ANSWER)
      }
      say(`all answer the same; ${settings.rounds} rounds`)
      return measureRounds(contestants, [LOAD], settings)
    })
    const summaries = summarise(samples, LOAD.name, REFERENCE)
    const rate = (name: string) =>
      summaries.find(({ server }) => server === name)?.rateRatio ?? null
    const cleanGoal = atLeast(
      0.85,
      'clean state, edgefn ABI: req/s × plain Bun.serve',
      rate('edgefn clean'),
    )
    return {
      tables: [
        roundsTable(samples, LOAD.name, REFERENCE, 'hello, a fresh instance per request, c=64'),
      ],
      goals: [
        atLeast(0.35, 'WAGI: req/s × plain Bun.serve', rate('edgefn WAGI')),
        offered ? cleanGoal : { ...cleanGoal, why: 'deploy has no --isolation' },
      ],
      notes: [],
      raw: samples,
    }
  },
}

/** The same processes under another name. */
function named(server: Server, name: string): Server {
  return {
    name,
    url: server.url,
    pids: server.pids,
    workers: () => server.workers?.() ?? [],
    stop: () => server.stop(),
  }
}

function offersIsolation(): boolean {
  const help = Bun.spawnSync([BINARY, 'deploy', '--help']).stdout.toString()
  return help.includes('--isolation')
}
