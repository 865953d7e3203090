/** A control plane that takes connections and answers nothing, and what a node does when it answers again. */

import { afterEach, expect, test } from 'bun:test'

import { createCpClient } from '../../../src/edge/agent/cp-client.ts'
import { CpProbe } from '../../../src/edge/agent/cp-probe.ts'
import { until } from './fixtures/node.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

/** Answers when `answers` is true; holds what comes before that for ever. */
function silentServer() {
  const state = { answers: false, requests: 0 }
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: () => {
      state.requests += 1
      if (state.answers) return Response.json({ status: 'ok' })
      return new Promise<Response>(() => {})
    },
  })
  closers.push(() => server.stop(true))
  return { url: `http://127.0.0.1:${server.port}`, state }
}

test('the probe tells that a hung control plane answers again, once, and not that its port is open', async () => {
  const { url, state } = silentServer()
  let reached = 0
  const probe = new CpProbe(url, () => (reached += 1))
  closers.push(() => probe.close())
  probe.lost()
  await until('it was asked twice', () => state.requests === 2)
  expect(reached).toBe(0)
  state.answers = true
  await until('it is reached', () => reached === 1)
  // It answers all the time now: no news.
  const before = state.requests
  probe.lost()
  await until('it was asked again', () => state.requests > before)
  await Bun.sleep(50)
  expect(reached).toBe(1)
}, 120_000)

test('calls that nobody answered can be given up, so that they hold up no later ones', async () => {
  const { url, state } = silentServer()
  const outcomes: boolean[] = []
  const client = createCpClient({
    cp: url,
    credentials: () => ({ node_id: 'n', token: 't' }) as never,
    closing: new AbortController().signal,
    onOutcome: (reachable) => outcomes.push(reachable),
  })
  const plan = client.plan(1)
  await until('the server has it', () => state.requests === 1)
  client.abandonUnanswered()
  await expect(plan).rejects.toThrow('does not answer')
  expect(outcomes).toEqual([false])
})
