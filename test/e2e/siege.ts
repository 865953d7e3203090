/** A node with a neighbour under load, to which hostile guests are deployed and called: what must hold for each of them. */

import { expect } from 'bun:test'
import { join } from 'node:path'

import { ERROR_KINDS } from '../../src/errors.ts'
import type { ErrorBody } from '../../src/protocol/api.ts'
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
/** Milliseconds of the neighbour's slowest answer: half of what it may wait for an executor, should the machine be busy besides. */
const neighbourMsMax = 5_000
/** Milliseconds until a guest is compiled, others before it included. */
const compileMsMax = 120_000
/** Resident bytes of one worker, far below where the agent would replace it. */
const workerBytesMax = 1536 * 1024 * 1024

export class Siege {
  readonly world: World
  readonly plane: ControlPlane
  readonly node: Node
  readonly #neighbour: Neighbour
  readonly #healthy: VitalSigns
  readonly #names = new Map<HostileGuest, string>()

  private constructor(
    world: World,
    plane: ControlPlane,
    node: Node,
    neighbour: Neighbour,
    healthy: VitalSigns,
  ) {
    this.world = world
    this.plane = plane
    this.node = node
    this.#neighbour = neighbour
    this.#healthy = healthy
  }

  /** `id` is a node's name that no other test has, for the workers are found by it. */
  static async begin(id: string, flags: string[]): Promise<Siege> {
    const world = new World()
    const plane = await (await ControlPlane.create(world)).start()
    const node = await (await Node.create(world, plane, { id, pop: id, flags })).start()
    // Its own limit is long: how slow it becomes is measured, and a busy machine is no failure.
    const words = ['--name', 'hello', '--route', '/hello', '--max-execution-ms', '10000']
    await plane.run('deploy', join(GUESTS, 'hello-c.wasm'), ...words)
    const neighbour = new Neighbour(`${node.url}/hello`, 4, 'Hello, edge!\n')
    await neighbour.report()
    return new Siege(world, plane, node, neighbour, await vitalSigns(node))
  }

  async end(): Promise<void> {
    await this.#neighbour.stop()
    await this.world.close()
  }

  deploy(guest: HostileGuest): Promise<Deployed> {
    const { source, memory_pages, max_execution_ms } = guest
    const name = `hostile-${this.#names.size}`
    this.#names.set(guest, name)
    const bytes = typeof source === 'string' ? assemble(source) : source()
    return deployGuest(this.plane, name, bytes, { memory_pages, max_execution_ms })
  }

  /** The path of a guest's route. */
  path(guest: HostileGuest): string {
    return `/${this.#name(guest)}/`
  }

  get(guest: HostileGuest, init: RequestInit = {}): Promise<Response> {
    return this.node.get(this.path(guest), init)
  }

  /** Of all workers together. */
  residentBytes(): number {
    return this.#healthy.workers.reduce((sum, pid) => sum + residentBytes(pid), 0)
  }

  async remove(guest: HostileGuest): Promise<void> {
    await this.plane.api('DELETE', `/functions/${this.#name(guest)}`)
  }

  /** Holds at any time, whatever a guest does. */
  async expectNobodyHurt(): Promise<void> {
    const { failures, slowestMs } = await this.#neighbour.report()
    expect(failures).toEqual([])
    expect(slowestMs).toBeLessThan(neighbourMsMax)
    expect(await vitalSigns(this.node)).toEqual(this.#healthy)
    for (const pid of this.#healthy.workers) {
      expect(residentBytes(pid)).toBeLessThan(workerBytesMax)
    }
  }

  /** Refused, unfit or in service, as it should be; true when it was stored. */
  expectDeployed({ expects }: HostileGuest, deployed: Deployed): boolean {
    if (!deployed.stored) {
      const code = expect.stringMatching(/^module_/)
      expect(deployed).toMatchObject({ status: 400, error: { code } })
      expect(deployed.error.message).toMatch(expects.outcome === 'refused' ? expects.words : /^$/)
      return false
    }
    expect(expects.outcome).not.toBe('refused')
    const { status, targets } = deployed.deployment
    const code = targets[0]?.error?.code ?? null
    expect([status, code]).toEqual(
      expects.outcome === 'unfit' ? ['failed', expect.any(String)] : ['completed', null],
    )
    if (expects.outcome === 'unfit') expect(expects.codes as string[]).toContain(code ?? '')
    return true
  }

  /** Several calls at once: each answered as it should be, in time. */
  async expectCalls(guest: HostileGuest): Promise<void> {
    const called = await this.#callAll(guest)
    const outcomes = called.map(({ status, code }) =>
      code === null ? `${status}` : `${status} ${code}`,
    )
    expect(outcomes.filter((outcome) => !allowed(guest).includes(outcome))).toEqual([])
    const { expects } = guest
    if (expects.outcome === 'fails')
      expect(outcomes.some((outcome) => outcome !== '200')).toBe(true)
    if (expects.outcome === 'answers' && expects.text !== undefined) {
      expect(called.map(({ text }) => text)).toEqual(called.map(() => expects.text ?? ''))
    }
    // Whoever is not stopped has its time; that a thread meets a large module for the first time comes on top.
    const stopped = called.filter(({ code }) => code === 'execution_timeout')
    const lateMs = stopped.map(({ ms }) => ms - guest.max_execution_ms).sort((a, b) => a - b)
    if (stopped.length === callsAtOnce) {
      expect(lateMs[callsAtOnce >> 1]).toBeLessThan(lateMsMedianMax)
      expect(lateMs.at(-1)).toBeLessThan(lateMsMax)
    }
  }

  /** One response on the wire, of the length that it says, with the node's own request id. */
  async expectOneResponse(guest: HostileGuest): Promise<void> {
    const answer = await wireGet(this.node.url, this.path(guest))
    expect(answer.surplus.toString('latin1')).toBe('')
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    for (const name of ['transfer-encoding', 'upgrade', 'te', 'trailer']) {
      expect(answer.headers.has(name)).toBe(false)
    }
  }

  /** Waits until the node has said of the guest that it runs compiled, or that it cannot be compiled; true in the first case. */
  async compiled(guest: HostileGuest, deployed: Deployed): Promise<boolean> {
    if (!deployed.stored) return false
    const { function_id } = deployed.deployment
    // Compilations are niced: on a busy machine they take their time.
    const giveUpAt = performance.now() + compileMsMax
    while (performance.now() < giveUpAt) {
      const lines = this.node.output.split('\n').filter((line) => line.includes(function_id))
      if (lines.some((line) => line.includes('runs compiled from now on'))) return true
      if (lines.some((line) => line.includes('could not be compiled'))) return false
      await Bun.sleep(50)
    }
    throw new Error(`The node said nothing of compiling: ${guest.title}.`)
  }

  #name(guest: HostileGuest): string {
    return this.#names.get(guest) ?? ''
  }

  /** Guests that need one instance to grow are called in a row. */
  async #callAll(guest: HostileGuest): Promise<Called[]> {
    const numbers = Array.from({ length: callsAtOnce }, (_, index) => index)
    if (guest.bodyBytesStep === 0) {
      return Promise.all(numbers.map((index) => this.#call(guest, index)))
    }
    const called: Called[] = []
    for (const index of numbers) called.push(await this.#call(guest, index))
    return called
  }

  async #call(guest: HostileGuest, index: number): Promise<Called> {
    const startedAt = performance.now()
    const body = new Uint8Array(guest.bodyBytesStep * index)
    const response = await this.get(guest, { method: 'POST', body })
    const text = await response.text()
    const ms = performance.now() - startedAt
    const isError = response.headers.get('content-type') === 'application/json' && !response.ok
    const code = isError ? (JSON.parse(text) as ErrorBody).error.code : null
    return { status: response.status, code, text, ms }
  }
}

/** Errors that are a guest's fault and end soon. */
const SURVIVORS = [
  'function_trap',
  'function_error',
  'invalid_response',
  'stack_overflow',
  'memory_limit',
] as const

interface Called {
  readonly status: number
  /** Of the error, when there was one. */
  readonly code: string | null
  readonly text: string
  readonly ms: number
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
      const failures = expects.codes.map((code) => `${ERROR_KINDS[code].status} ${code}`)
      // A guest that needs a larger request first answers the smaller ones.
      return bodyBytesStep > 0 ? ['200', ...failures] : failures
    }
    case 'survives':
      return ['200', ...SURVIVORS.map((code) => `${ERROR_KINDS[code].status} ${code}`)]
  }
}
