import { connect } from 'node:net'

import { afterAll, beforeAll, expect, test } from 'bun:test'

import { nopModule } from '../guests/hostile/shapes.ts'
import {
  answers,
  edgefn,
  EMPTY_RESPONSE,
  fails,
  guest,
  RESPONSE,
  unfit,
  wagi,
} from '../guests/hostile/guest.ts'
import type { HostileGuest } from '../guests/hostile/guest.ts'
import { until } from './harness.ts'
import { Siege } from './siege.ts'

let siege: Siege

beforeAll(async () => {
  siege = await Siege.begin('crowd-1', ['--compile', 'off', '--spare-worker', 'off'])
}, 120_000)

afterAll(() => siege.end(), 60_000)

/** Statuses of `count` calls spread over the guests, `atOnce` of them at a time. */
async function callMany(
  guests: readonly HostileGuest[],
  count: number,
  atOnce: number,
): Promise<Map<number, number>> {
  const statuses = new Map<number, number>()
  let sent = 0
  async function client(): Promise<void> {
    while (sent < count) {
      const target = guests[sent % guests.length] as HostileGuest
      sent += 1
      const response = await siege.get(target)
      await response.arrayBuffer()
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, client))
  return statuses
}

const FOREVER = '(loop $again (br $again)) (unreachable)'
const FILL_MEMORY = `(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
  (memory.fill (i32.const 131072) (i32.const 7)
    (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 131072)))`

test('functions that all run for seconds leave their neighbour its thread', async () => {
  const burning = [1, 2, 3].map((each) =>
    guest(`burner ${each}`, edgefn(FOREVER), fails('execution_timeout'), {
      max_execution_ms: 2_500,
    }),
  )
  for (const each of burning) await siege.deploy(each)
  const statuses = await callMany(burning, 30, 30)
  // Calls that ran were stopped; the circuit breaker may refuse what comes late.
  expect(statuses.get(504)).toBeGreaterThan(10)
  expect([...statuses.keys()].filter((status) => status !== 504 && status !== 503)).toEqual([])
  await siege.expectNobodyHurt()
  for (const each of burning) await siege.remove(each)
}, 120_000)

test('more giant modules than fit into a worker push out each other, not the worker', async () => {
  const giants = [1, 2, 3, 4, 5, 6].map((each) =>
    guest(`giant ${each}`, () => nopModule(7_600_000), answers(200), { max_execution_ms: 10_000 }),
  )
  for (const each of giants) siege.expectDeployed(each, await siege.deploy(each))
  expect([...(await callMany(giants, 12, 2)).keys()]).toEqual([200])
  await siege.expectNobodyHurt()
  for (const each of giants) await siege.remove(each)
}, 120_000)

test('thirty functions that each fill all memory they may have stay within the worker’s', async () => {
  const hungry = Array.from({ length: 30 }, (_, each) =>
    guest(`hungry ${each}`, edgefn(`${FILL_MEMORY} ${EMPTY_RESPONSE}`), answers(200), {
      memory_pages: 256,
      max_execution_ms: 10_000,
    }),
  )
  for (const each of hungry) await siege.deploy(each)
  expect([...(await callMany(hungry, 300, 24)).keys()]).toEqual([200])
  await siege.expectNobodyHurt()
  for (const each of hungry) await siege.remove(each)
}, 120_000)

test('thousands of instances that fail while they are made leave nothing behind', async () => {
  const failing = [
    guest(
      'start traps',
      wagi('', { fields: '(func $b unreachable) (start $b)' }),
      unfit('function_trap'),
    ),
    guest(
      'segment does not fit',
      wagi('', { fields: '(data (i32.const -1) "abc")' }),
      unfit('function_trap'),
    ),
  ]
  for (const each of failing) siege.expectDeployed(each, await siege.deploy(each))
  const before = siege.residentBytes()
  const statuses = await callMany(failing, 6_000, 12)
  expect([...statuses.keys()].filter((status) => status !== 500 && status !== 503)).toEqual([])
  expect(siege.residentBytes() - before).toBeLessThan(300 * 2 ** 20)
  await siege.expectNobodyHurt()
  for (const each of failing) await siege.remove(each)
}, 120_000)

test('clients that leave at any moment leave no call and no request behind', async () => {
  const slow = guest('slow', edgefn(FOREVER), fails('execution_timeout'), { max_execution_ms: 150 })
  await siege.deploy(slow)
  async function leave(at: number): Promise<boolean> {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), at % 97)
    const body = new Uint8Array(100_000)
    const sent = siege.get(slow, { method: 'POST', body, signal: controller.signal })
    return sent
      .then((response) => response.text())
      .then(
        () => false,
        () => true,
      )
  }
  const left: boolean[] = []
  for (let round = 0; round < 10; round += 1) {
    left.push(...(await Promise.all(Array.from({ length: 24 }, (_, at) => leave(round * 24 + at)))))
  }
  expect(left.filter(Boolean).length).toBeGreaterThan(100)
  await siege.expectNobodyHurt()
  await until('nothing runs or waits any more', async () => {
    const waiting = await siege.node.metric('edgefn_queue_length')
    return waiting === 0 && (await siege.node.metric('edgefn_in_flight')) <= 4
  })
  await siege.remove(slow)
}, 120_000)

test('clients that ask for much and read nothing hold up nobody', async () => {
  const large = guest(
    'large',
    edgefn(
      `(drop (call $response_head (i32.const 200) (i32.const 0) (i32.const 0)))
       (loop $again (drop (call $response_write (i32.const 65536) (i32.const 65536)))
         (local.set $i (i32.add (local.get $i) (i32.const 1)))
         (br_if $again (i32.lt_u (local.get $i) (i32.const 90))))
       (i32.const 0)`,
      { imports: RESPONSE },
    ),
    answers(200),
  )
  await siege.deploy(large)
  const { hostname, port } = new URL(siege.node.url)
  const sockets = Array.from({ length: 80 }, () => {
    const socket = connect({ host: hostname, port: Number(port) })
    socket.on('error', () => {})
    socket.pause()
    socket.write(`GET ${siege.path(large)} HTTP/1.1\r\nHost: a\r\n\r\n`)
    return socket
  })
  await siege.expectNobodyHurt()
  await until('all were answered', async () => {
    return (await siege.node.metric('edgefn_in_flight')) <= 4
  })
  await siege.expectNobodyHurt()
  for (const socket of sockets) socket.destroy()
  await siege.remove(large)
}, 120_000)
