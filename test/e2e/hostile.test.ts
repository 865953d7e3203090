import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'

import { ERROR_KINDS } from '../../src/errors.ts'
import type { ErrorCode } from '../../src/errors.ts'
import type { ErrorBody } from '../../src/protocol/api.ts'
import { CORPUS } from '../guests/hostile/corpus.ts'
import type { HostileGuest } from '../guests/hostile/guest.ts'
import { assemble } from '../wasm/wabt.ts'
import { deployGuest } from './deploy-guest.ts'
import type { Deployed } from './deploy-guest.ts'
import { ControlPlane, GUESTS, Node, World } from './harness.ts'
import { Neighbour, residentBytes, vitalSigns } from './vital-signs.ts'
import type { VitalSigns } from './vital-signs.ts'
import { wireGet } from './wire.ts'

/** Calls of each guest at the same time: as many as may run at once, so that none waits for another. */
const callsAtOnce = 5
/**
 * Milliseconds past its deadline by which most calls, and all calls, are answered here, where guests burn both cores and a
 * thread that meets a large module for the first time parses it before the deadline begins. 100 where they do not.
 */
const lateMsMedianMax = 1_000
const lateMsMax = 3_000
/** Milliseconds after which the neighbour's users would call it broken. */
const neighbourMsMax = 3_000
/** Resident bytes of one worker, far below where the agent would replace it. */
const workerBytesMax = 1536 * 1024 * 1024

let world: World
let plane: ControlPlane
let node: Node
let neighbour: Neighbour
let healthy: VitalSigns

/** Guests whose start is slow on purpose: they are deployed together, before the others. */
const slow = CORPUS.filter(
  ({ expects }) => expects.outcome === 'unfit' && expects.codes.includes('execution_timeout'),
)
const early = new Map<HostileGuest, Promise<Deployed>>()

function bytesOf({ source }: HostileGuest): Uint8Array<ArrayBuffer> {
  return typeof source === 'string' ? assemble(source) : source()
}

/** The guest's name as a function. */
function nameOf(guest: HostileGuest): string {
  return `hostile-${CORPUS.indexOf(guest)}`
}

function deploy(guest: HostileGuest): Promise<Deployed> {
  const { memory_pages, max_execution_ms } = guest
  return deployGuest(plane, nameOf(guest), bytesOf(guest), { memory_pages, max_execution_ms })
}

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  node = await (await Node.create(world, plane, { id: 'hostile-1-a', pop: 'hostile-1' })).start()
  await plane.run('deploy', join(GUESTS, 'hello-c.wasm'), '--name', 'hello', '--route', '/hello')
  neighbour = new Neighbour(`${node.url}/hello`, 4, 'Hello, edge!\n')
  await neighbour.report()
  healthy = await vitalSigns(node)
  for (const guest of slow) early.set(guest, deploy(guest))
}, 60_000)

afterAll(async () => {
  await neighbour.stop()
  await world.close()
}, 60_000)

/** Holds for every guest, whatever it does. */
async function expectNobodyHurt(): Promise<void> {
  const { failures, slowestMs } = await neighbour.report()
  expect(failures).toEqual([])
  expect(slowestMs).toBeLessThan(neighbourMsMax)
  expect(await vitalSigns(node)).toEqual(healthy)
  for (const pid of healthy.workers) expect(residentBytes(pid)).toBeLessThan(workerBytesMax)
}

interface Called {
  readonly status: number
  /** Of the error, when there was one. */
  readonly code: string | null
  readonly text: string
  readonly ms: number
}

async function call(guest: HostileGuest, index: number): Promise<Called> {
  const startedAt = performance.now()
  const body = new Uint8Array(guest.bodyBytesStep * index)
  const response = await node.get(`/${nameOf(guest)}/`, { method: 'POST', body })
  const text = await response.text()
  const ms = performance.now() - startedAt
  const isError = response.headers.get('content-type') === 'application/json' && !response.ok
  const code = isError ? (JSON.parse(text) as ErrorBody).error.code : null
  return { status: response.status, code, text, ms }
}

/** Guests that need one instance to grow are called in a row. */
async function callAll(guest: HostileGuest): Promise<Called[]> {
  const numbers = Array.from({ length: callsAtOnce }, (_, index) => index)
  if (guest.bodyBytesStep === 0) return Promise.all(numbers.map((index) => call(guest, index)))
  const called: Called[] = []
  for (const index of numbers) called.push(await call(guest, index))
  return called
}

function statusOf(code: ErrorCode): number {
  return ERROR_KINDS[code].status
}

/** The statuses and codes that a call may be answered with. */
function allowed({ expects, bodyBytesStep }: HostileGuest): string[] {
  switch (expects.outcome) {
    case 'answers':
      return [`${expects.status}`]
    case 'refused':
      return []
    // A function that could not be brought into service is tried again when somebody asks for it.
    case 'unfit':
    case 'fails': {
      const failures = expects.codes.map((code) => `${statusOf(code)} ${code}`)
      // A guest that needs a larger request first answers the smaller ones.
      return bodyBytesStep > 0 ? ['200', ...failures] : failures
    }
    case 'survives':
      return ['200', '500 function_trap', '500 function_error', '502 invalid_response']
  }
}

async function expectCalls(guest: HostileGuest): Promise<void> {
  const called = await callAll(guest)
  const outcomes = called.map(({ status, code }) =>
    code === null ? `${status}` : `${status} ${code}`,
  )
  expect(outcomes.filter((outcome) => !allowed(guest).includes(outcome))).toEqual([])
  const { expects } = guest
  if (expects.outcome === 'fails') expect(outcomes.some((outcome) => outcome !== '200')).toBe(true)
  if (expects.outcome === 'answers' && expects.text !== undefined) {
    expect(called.map(({ text }) => text)).toEqual(called.map(() => expects.text ?? ''))
  }
  const lateMs = called.map(({ ms }) => ms - guest.max_execution_ms).sort((a, b) => a - b)
  expect(lateMs[callsAtOnce >> 1]).toBeLessThan(lateMsMedianMax)
  expect(lateMs.at(-1)).toBeLessThan(lateMsMax)
}

/** One response on the wire, of the length that it says, with the node's own request id. */
async function expectOneResponse(guest: HostileGuest): Promise<void> {
  const answer = await wireGet(node.url, `/${nameOf(guest)}/`)
  expect(answer.surplus.toString('latin1')).toBe('')
  expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
  for (const name of ['transfer-encoding', 'upgrade', 'te', 'trailer']) {
    expect(answer.headers.has(name)).toBe(false)
  }
}

describe('a hostile guest is refused or contained, and nobody else is hurt', () => {
  const ordered = [...CORPUS.filter((guest) => !slow.includes(guest)), ...slow]

  test.each(ordered.map((guest) => [guest.title, guest] as const))(
    '%s',
    async (_, guest) => {
      const deployed = await (early.get(guest) ?? deploy(guest))
      const { expects } = guest
      if (!deployed.stored) {
        expect(deployed).toMatchObject({
          status: 400,
          error: { code: expect.stringMatching(/^module_/) },
        })
        expect(deployed.error.message).toMatch(expects.outcome === 'refused' ? expects.words : /^$/)
      } else {
        expect(expects.outcome).not.toBe('refused')
        const { status, targets } = deployed.deployment
        expect(status).toBe(expects.outcome === 'unfit' ? 'failed' : 'completed')
        if (expects.outcome === 'unfit') {
          expect(expects.codes as string[]).toContain(targets[0]?.error?.code ?? '')
        }
        await expectCalls(guest)
        await expectOneResponse(guest)
        await plane.api('DELETE', `/functions/${nameOf(guest)}`)
      }
      await expectNobodyHurt()
    },
    30_000,
  )
})

test('what the guests logged is one JSON object per line', () => {
  const lines = node.output.split('\n').filter((line) => line !== '')
  const broken = lines.filter((line) => {
    try {
      return typeof JSON.parse(line) !== 'object'
    } catch {
      return true
    }
  })
  expect(lines.length).toBeGreaterThan(CORPUS.length)
  expect(broken).toEqual([])
})
