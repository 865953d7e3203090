/** Rollouts as an operator sees them when something is amiss: too little traffic, nodes that are cut off, stopped or new, slow versions. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import mqtt from 'mqtt'

import type { DeploymentView } from '../../src/protocol/api.ts'
import type { RolloutEvent } from '../../src/protocol/rollout.ts'
import type { WebhookCreated } from '../../src/protocol/webhooks.ts'
import { receiver } from '../cp/webhooks/receiver.ts'
import { numberGuest } from '../edge/worker/runtime/wat.ts'
import { ControlPlane, freePort, Node, startLoad, until, World } from './harness.ts'

let world: World
let plane: ControlPlane
let broker: string
let nodes: Node[]
let version = 0
const patient = 120_000
/** So long that a slow version is slow, not at fault, also while the node interprets it. */
const limits = ['--route', '/watched', '--max-execution-ms', '30000']
const nodeFlags = ['--telemetry-interval', '200ms', '--workers', '1']

/** Every so many calls do what is given; the others answer the number. */
const everyNth = (n: number, what: string, number: number) =>
  numberGuest(
    `(block (result i32)
       (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
       (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const ${n}))) (then ${what}))
       (i32.const ${number}))`,
    '(global $calls (mut i32) (i32.const 0)) (global $spent (mut i32) (i32.const 0))',
  )
const burn = `(loop $burn (global.set $spent (i32.add (global.get $spent) (i32.const 1)))
  (br_if $burn (i32.rem_u (global.get $spent) (i32.const 150000000))))`

/** Runs `edgefn deploy` with the next version, which answers its number. */
async function deploy(words: readonly string[], guest?: (number: number) => Uint8Array) {
  version += 1
  const file = join(world.dir, `v${version}.wasm`)
  await Bun.write(file, (guest ?? ((number) => numberGuest(`(i32.const ${number})`)))(version))
  return plane.cli('deploy', file, '--name', 'watched', ...limits, ...words)
}
const newest = async () => {
  const text = await plane.run('deployment', 'status', 'watched', '-o', 'json')
  return JSON.parse(text) as DeploymentView
}
const status = () => plane.run('deployment', 'status', 'watched')
const windowOf = (number: number) =>
  until(`the window of v${number} is open`, async () => {
    const view = await newest()
    return view.version === number && view.rollout.window_ms !== null
  })
const answers = () =>
  Promise.all(nodes.map(async (node) => Number(await (await node.get('/watched')).text())))
/** What the last node answers, which is not the first to be given anything. */
const present = async () => (await answers()).at(-1) ?? 0
const allAnswer = (number: number) =>
  until(`all nodes answer ${number}`, async () => (await answers()).every((got) => got === number))
const node = (index: number) => {
  const found = nodes[index]
  if (found === undefined) throw new Error('There are not so many nodes.')
  return found
}
const isOffline = (id: string) =>
  until(`${id} is offline`, async () => {
    const seen = await plane.api<{ status: string }>('GET', `/nodes/${id}`)
    return seen.status === 'offline'
  })
const canary = ['--strategy', 'canary', '--steps', '1,100%']
const calls = async (at: Node, count: number) => {
  for (let call = 0; call < count; call += 1) await (await at.get('/watched')).text()
}

beforeAll(async () => {
  world = new World()
  broker = `127.0.0.1:${await freePort()}`
  plane = await (await ControlPlane.create(world, ['--mqtt-listen', broker])).start()
  nodes = await Promise.all(
    ['a', 'b', 'c'].map(async (pop) =>
      (await Node.create(world, plane, { id: `${pop}-1`, pop, flags: nodeFlags })).start(),
    ),
  )
  expect((await deploy([])).stdout).toContain('is in service on 3 nodes')
}, patient)
afterAll(() => world.close(), patient)

const fewCalls = ['--window', '1s', '--min-samples', '20', '--step-timeout', '5s']

test(
  'a canary with too little traffic is paused and moves nothing; abort brings everything back',
  async () => {
    const before = await present()
    const { code, stderr } = await deploy([...canary, ...fewCalls])
    expect(code).toBe(5)
    expect(stderr).toContain('paused at step 1 of 2, too little was seen to judge it')
    expect(stderr).toContain('0 of the 20 requests')
    expect(await status()).toMatch(
      /paused \(not_enough_samples\), step 1 of 2[^]*gate +min_samples/,
    )
    // What is paused stays: longer than the step's time.
    await Bun.sleep(6_000)
    expect(await answers()).toEqual([version, before, before])
    expect(await plane.run('deployment', 'abort', 'watched')).toContain('rolled_back')
    await allAnswer(before)
  },
  patient,
)

test(
  'promote goes on with a canary that was paused for want of traffic, to its end',
  async () => {
    const { code } = await deploy([...canary, ...fewCalls])
    expect(code).toBe(5)
    const loads = nodes.map((at) => startLoad(`${at.url}/watched`, 1))
    expect(await plane.run('deployment', 'promote', 'watched')).toContain('running')
    await plane.run('deployment', 'status', 'watched', '--watch', '--timeout', '60s')
    await Promise.all(loads.map((load) => load.stop()))
    expect(await newest()).toMatchObject({ status: 'completed', rollout: { evidence: null } })
    await allAnswer(version)
  },
  patient,
)

test(
  'a canary that is cut off in its window holds the rollout until it is back, though requests enough had come',
  async () => {
    const before = await present()
    const words = [...canary, '--window', '15s', '--min-samples', '20', '--step-timeout', '90s']
    const begun = deploy(words)
    await windowOf(version)
    await calls(node(0), 40)
    await until('they are reported', async () => {
      const row = await plane.run('metrics', 'watched', '--version', `${version}`)
      return Number(new RegExp(`v${version} +(\\d+)`).exec(row)?.[1] ?? 0) >= 20
    })
    await plane.run('nodes', 'isolate', 'a-1', '--for', '25s', '--no-wait')
    await isOffline('a-1')
    await until(
      'the window is over',
      async () => ((await newest()).rollout.window_ms ?? 0) > 17_000,
    )
    expect(await newest()).toMatchObject({ rollout: { phase: 'running', step: 1 } })
    expect(await answers()).toEqual([version, before, before])
    const loads = nodes.map((at) => startLoad(`${at.url}/watched`, 1))
    const { code, stdout } = await begun
    const reports = await Promise.all(loads.map((load) => load.stop()))
    expect([code, stdout]).toEqual([0, expect.stringContaining('in service on 3 nodes')])
    expect(reports.flatMap(({ failures }) => failures)).toEqual([])
    await allAnswer(version)
  },
  patient,
)

test(
  'a node that is cut off is named as one that does not have the version, and gets it when it returns',
  async () => {
    const before = await present()
    await plane.run('nodes', 'isolate', 'c-1', '--for', '20s', '--no-wait')
    await isOffline('c-1')
    const { code, stdout } = await deploy(['--strategy', 'rolling', '--batch', '1'])
    expect([code, await answers()]).toEqual([0, [version, version, before]])
    expect(stdout).toContain('is in service on 2 of 3 nodes')
    expect(stdout).toContain('c-1  has not answered yet')
    await allAnswer(version)
    const { targets } = await until('it has said so', async () => {
      const view = await newest()
      return view.targets.every((target) => target.state === 'deployed') ? view : null
    })
    expect(targets).toHaveLength(3)
  },
  patient,
)

/** The events of the stream, as long as it is read. */
async function* streamed(response: Response): AsyncGenerator<RolloutEvent> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const piece of response.body ?? []) {
    text += decoder.decode(piece, { stream: true })
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) {
      if (line.startsWith('data: ')) yield JSON.parse(line.slice(6)) as RolloutEvent
    }
  }
}

test(
  'a gate that fails is told once by the stream, MQTT and a webhook, with gate, node and numbers',
  async () => {
    const before = await present()
    await using told = receiver()
    const fields = { url: told.url, events: ['rollout.gate_failed'] }
    told.secret = (await plane.api<WebhookCreated>('POST', '/webhooks', fields)).secret
    const ending = new AbortController()
    const stream = await fetch(`${plane.url}/api/v1/events?type=rollout`, {
      headers: { authorization: `Bearer ${plane.key}` },
      signal: ending.signal,
    })
    const seen: RolloutEvent[] = []
    const reading = (async () => {
      for await (const event of streamed(stream)) seen.push(event)
    })().catch(() => undefined)
    const account = { username: 'api', password: plane.key, clientId: 'watch:troubles' }
    const client = await mqtt.connectAsync(`mqtt://${broker}`, account)
    const published: RolloutEvent[] = []
    client.on('message', (_topic, payload) => {
      published.push(JSON.parse(payload.toString()) as RolloutEvent)
    })
    await client.subscribeAsync('edgefn/v1/events/#')
    const load = startLoad(`${node(0).url}/watched`, 2)
    const { code, stderr } = await deploy([...canary, '--window', '60s'], (number) =>
      everyNth(3, '(unreachable)', number),
    )
    await load.stop()
    expect([code, stderr]).toEqual([5, expect.stringMatching(/gate error_rate, step 1: .*% may/)])
    // Numbers for people.
    expect(stderr).not.toMatch(/\d\.\d{5}/)
    const { evidence } = (await newest()).rollout
    expect(evidence).toMatchObject({
      gate: 'error_rate',
      threshold: 0.05,
      nodes: [{ node_id: 'a-1' }],
    })
    const failures = (events: readonly RolloutEvent[]) =>
      events.filter((event) => event.change === 'gate_failed').map((event) => event.evidence)
    const isOver = (events: readonly RolloutEvent[]) =>
      events.some((event) => event.change === 'rolled_back')
    await until('all are told', () => isOver(seen) && isOver(published) && told.received.length > 0)
    expect([failures(seen), failures(published)]).toEqual([[evidence], [evidence]])
    expect(told.received.map((item) => [item.genuine, item.event['evidence']])).toEqual([
      [true, evidence],
    ])
    ending.abort()
    await reading
    await client.endAsync()
    await allAnswer(before)
  },
  patient,
)

/** Agent and workers of a node stand still, with their connections open. */
async function whileStopped<T>(at: Node, act: () => Promise<T>): Promise<T> {
  if (at.pid === 0) throw new Error('The node does not run.')
  const children = Bun.spawnSync(['pgrep', '-P', `${at.pid}`]).stdout.toString()
  const pids = [at.pid, ...children.split('\n').filter(Boolean).map(Number)]
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  try {
    return await act()
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT')
  }
}

const mayFail = [[], ['--max-failed', '20%'], ['--max-failed', '1'], ['--max-failed', '40%']]
for (const words of mayFail) {
  // A part of three nodes is rounded down.
  const isTaken = words[1] === '1' || words[1] === '40%'
  const outcome = isTaken ? 'is done without' : 'takes back the rollout'
  test(
    `${words.join(' ') || 'no --max-failed'}: a node that stands still ${outcome}; afterwards it has what it should`,
    async () => {
      const before = await present()
      const flags = ['--strategy', 'rolling', '--batch', '2', '--step-timeout', '10s', ...words]
      const { code, stdout, stderr } = await whileStopped(node(1), () => deploy(flags))
      if (isTaken) {
        expect([code, stdout]).toEqual([0, expect.stringContaining('in service on 2 of 3 nodes')])
        expect(stdout).toContain('b-1  has not answered yet')
      } else {
        expect([code, stderr]).toEqual([5, expect.stringContaining('1 node did not acknowledge')])
        expect(stderr).toContain('b-1  no answer')
      }
      await allAnswer(isTaken ? version : before)
      if (!isTaken) await plane.run('deployment', 'show', (await newest()).id)
    },
    patient,
  )
}

test(
  'P26: a version that is slow with one call of ten is stopped by the p95',
  async () => {
    const before = await present()
    const load = startLoad(`${node(0).url}/watched`, 2)
    const gates = ['--window', '60s', '--p95-max', '60ms']
    const { code, stderr } = await deploy([...canary, ...gates], (number) =>
      everyNth(10, burn, number),
    )
    const { failures } = await load.stop()
    expect([code, failures]).toEqual([5, []])
    expect(stderr).toMatch(
      /gate p95_ms, step 1: 95 of 100 requests to .* took up to [\d.]+ ms; 60 ms/,
    )
    await allAnswer(before)
  },
  patient,
)

test(
  'a node that joins in the first step of a canary has the old version until its step',
  async () => {
    const before = await present()
    const begun = deploy([...canary, '--window', '1s', '--min-samples', '20'])
    await windowOf(version)
    nodes.push(
      await (await Node.create(world, plane, { id: 'a-0', pop: 'a', flags: nodeFlags })).start(),
    )
    await until('it serves', async () => (await node(3).get('/watched')).ok)
    expect(await answers()).toEqual([version, before, before, before])
    expect(await status()).toMatch(/a-0 +a +2 +waiting/)
    const loads = nodes.map((at) => startLoad(`${at.url}/watched`, 1))
    const { code, stdout } = await begun
    await Promise.all(loads.map((load) => load.stop()))
    expect([code, stdout]).toEqual([0, expect.stringContaining('in service on 4 nodes')])
    await allAnswer(version)
  },
  patient,
)
