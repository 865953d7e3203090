/**
 * Deployments of all strategies one after the other, orders and roll-backs among them, while control plane, nodes and workers are killed.
 * Each answer is judged (`storm/answers.ts`): none may come from a version that was never deployed, and none but 200 that no kill and
 * no version that was made to trap explains. Afterwards every acknowledged deployment must be there and have ended, all nodes must answer
 * the version that is in force, and the audit log must be whole and name each deployment.
 */

import { parseArgs } from 'node:util'

import { errorMessage } from '../src/errors.ts'
import type { DeploymentView, RegistrationView } from '../src/protocol/api.ts'
import { ControlPlane, Node, until, World } from '../test/e2e/harness.ts'
import type { Page } from '../test/e2e/harness.ts'
import { numberGuest } from '../test/edge/worker/runtime/wat.ts'
import { below, pick, randomOf } from '../test/fuzz/random.ts'
import { Answers } from './storm/answers.ts'

const USAGE = 'Usage: scripts/fleet-storm [--seconds N] [--seed N] [--plant]'

const POPS = ['tokyo-1', 'tokyo-2', 'osaka-1']
const NODE_FLAGS = ['--workers', '1', '--telemetry-interval', '200ms']
/** Every so many versions one that traps with every third call, and one that is uploaded and never deployed. */
const flakyEvery = 4
const idleEvery = 5
/** Between two disturbances, and between two changes: at least, and by how much more at most. */
const disturbMs = { least: 1_500, spread: 3_000 }
const changeMs = { least: 200, spread: 1_800 }
/** Longer than it takes until a node is taken to be offline. */
const stopMsMax = 4_000
const callPauseMs = 20
const callMsMax = 10_000
const convergeMs = 90_000
/** As many answers one after the other that a node has to give of the version in force. */
const steadyAnswers = 20
/** More are counted and not printed. */
const defectsPrintedMax = 30
const PLANE = 'the control plane'

const gates = { error_rate_max: 0.05, min_samples: 20, window_seconds: 1 }
const STRATEGIES: readonly Record<string, unknown>[] = [
  {},
  { strategy: 'immediate', max_failed: 1 },
  { strategy: 'rolling', rolling: { batch: 1 } },
  { strategy: 'rolling', rolling: { batch: 1, pause_seconds: 1 }, gates, step_timeout_seconds: 20 },
  {
    ...{ strategy: 'canary', canary: { steps: [{ nodes: 1 }, { nodes: '100%' }] } },
    ...{ gates, step_timeout_seconds: 20 },
  },
]
/** How often each comes is how often it is named. */
const DISTURBANCES = ['plane', 'plane', 'plane', 'node', 'node', 'both', 'worker', 'stop'] as const
const ORDERS = ['pause', 'resume', 'promote', 'abort'] as const

class FleetStorm {
  readonly #random: () => number
  readonly #world = new World()
  readonly #defects: string[] = []
  readonly #counts = new Map<string, number>()
  /** Deployments that the control plane has acknowledged, and their versions. */
  readonly #acknowledged = new Map<string, number>()
  /** Versions that a deployment has been asked for, answered or not. */
  readonly #asked = new Set<number>()
  readonly #answers = new Answers({
    isAsked: (version) => this.#asked.has(version),
    isFlaky,
  })
  readonly #startedMs = performance.now()
  #versions = 0
  #storming = true
  #serving = true

  constructor(seed: number) {
    this.#random = randomOf(seed)
  }

  /** The exit code. */
  async run(seconds: number, plant: boolean): Promise<number> {
    try {
      const plane = await (await ControlPlane.create(this.#world)).start()
      const nodes = await Promise.all(
        POPS.map(async (pop) =>
          (
            await Node.create(this.#world, plane, { id: `${pop}-storm`, pop, flags: NODE_FLAGS })
          ).start(),
        ),
      )
      await this.#upload(plane)
      await plane.api('POST', '/routes', { path: '/storm', path_type: 'exact', function: 'storm' })
      await this.#deploy(plane, { version: 1 })
      for (const node of nodes) await this.#serves(node, 1)
      const callers = nodes.flatMap((node) => [this.#call(node, true), this.#call(node, false)])
      const storm = Promise.all([this.#disturb(plane, nodes), this.#change(plane)])
      await Promise.race([Bun.sleep(seconds * 1000), storm]) // A process that does not come back ends it at once.
      this.#storming = false
      await storm
      if (plant) this.#plant()
      await this.#judge(plane, nodes)
      this.#serving = false
      await Promise.all(callers)
      this.#defects.push(...this.#answers.end())
      this.#print()
      return this.#defects.length === 0 ? 0 : 1
    } finally {
      this.#storming = this.#serving = false
      await this.#world.close()
    }
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1)
  }

  get #nowMs(): number {
    return performance.now() - this.#startedMs
  }

  /** Records what never was, as a control plane that loses deployments and nodes that serve anything would make it. */
  #plant(): void {
    this.#acknowledged.set('planted', 1)
    const answer = { from: 'planted', sentMs: this.#nowMs, endedMs: this.#nowMs }
    this.#answers.called({ ...answer, status: 200, body: '1000000' })
    this.#answers.called({ ...answer, status: 404, body: 'planted' })
  }

  #pause({ least, spread }: { least: number; spread: number }): Promise<void> {
    return Bun.sleep(least + below(this.#random, spread))
  }

  /** Over one connection as long as it lasts, or over a new one each time. */
  async #call(node: Node, keepalive: boolean): Promise<void> {
    while (this.#serving) {
      const sentMs = this.#nowMs
      let status: number | null = null
      let body: string
      try {
        const signal = AbortSignal.timeout(callMsMax)
        const response = await node.get('/storm', { signal, keepalive })
        body = await response.text()
        status = response.status
      } catch (thrown) {
        body = String(thrown)
      }
      this.#answers.called({ from: node.id, sentMs, endedMs: this.#nowMs, status, body })
      await Bun.sleep(callPauseMs)
    }
  }

  async #disturb(plane: ControlPlane, nodes: readonly Node[]): Promise<void> {
    while (this.#storming) {
      await this.#pause(disturbMs)
      const node = pick(this.#random, nodes)
      switch (pick(this.#random, DISTURBANCES)) {
        case 'plane':
          await this.#kill([plane])
          break
        case 'node':
          await this.#kill([node])
          break
        case 'both': // The node starts first, from its cache.
          await this.#kill([node, plane])
          break
        case 'worker':
          await this.#killWorkers(node)
          break
        case 'stop':
          process.kill(node.pid, 'SIGSTOP')
          await Bun.sleep(below(this.#random, stopMsMax))
          process.kill(node.pid, 'SIGCONT')
          this.#count('nodes stopped')
      }
    }
  }

  async #kill(victims: readonly (Node | ControlPlane)[]): Promise<void> {
    const backs = victims.map((victim) =>
      victim instanceof Node
        ? this.#answers.killed(victim.id, 'agent', this.#nowMs)
        : this.#answers.killed(PLANE, 'plane', this.#nowMs),
    )
    for (const victim of victims) {
      await victim.stop('SIGKILL')
      this.#count(victim instanceof Node ? 'nodes killed' : 'control planes killed')
    }
    await Bun.sleep(below(this.#random, 1_000))
    for (const victim of victims) await victim.start()
    for (const isBack of backs) isBack(this.#nowMs)
  }

  /** The agent starts others by itself. */
  async #killWorkers(node: Node): Promise<void> {
    const isBack = this.#answers.killed(node.id, 'workers', this.#nowMs)
    for (const pid of node.workers()) killIfThere(pid)
    this.#count('workers killed')
    await until(`${node.id} is ready again`, async () => (await fetch(`${node.ops}/ready`)).ok)
    isBack(this.#nowMs)
  }

  async #change(plane: ControlPlane): Promise<void> {
    while (this.#storming) {
      await this.#pause(changeMs)
      const sentMs = this.#nowMs
      try {
        await this.#changeOnce(plane)
      } catch (thrown) {
        const [, status, text] = /^\w+ \S+: (\d+) (.*)$/s.exec(errorMessage(thrown)) ?? []
        const what = {
          status: status === undefined ? null : Number(status),
          body: text ?? String(thrown),
        }
        this.#answers.refused({ from: PLANE, sentMs, endedMs: this.#nowMs, ...what })
      }
    }
  }

  async #changeOnce(plane: ControlPlane): Promise<void> {
    const kind = below(this.#random, 10)
    if (kind === 0) {
      const back = await plane.api<DeploymentView>('POST', '/functions/storm/rollback', {})
      return this.#acknowledge(back, 'roll-backs')
    }
    if (kind <= 2) {
      const order = pick(this.#random, ORDERS)
      const id = [...this.#acknowledged.keys()].at(-1) ?? ''
      await plane.api('POST', `/deployments/${id}/${order}`, {})
      return this.#count(`${order} orders`)
    }
    const version = await this.#upload(plane)
    if (version % idleEvery !== 0) {
      await this.#deploy(plane, { version, ...pick(this.#random, STRATEGIES) })
    }
  }

  /** The guest answers the number that its version will have; the version that came is another when an answer was lost before. */
  async #upload(plane: ControlPlane): Promise<number> {
    const made = await plane.api<RegistrationView>('POST', '/functions', { name: 'storm' })
    this.#versions = made.version
    const stored = await fetch(made.upload_url, { method: 'PUT', body: guest(made.version) })
    if (!stored.ok) throw new Error(`PUT /upload: ${stored.status} ${await stored.text()}`)
    return made.version
  }

  async #deploy(plane: ControlPlane, body: { readonly version: number }): Promise<void> {
    this.#asked.add(body.version)
    const made = await plane.api<DeploymentView>('POST', '/functions/storm/deploy', body)
    this.#acknowledge(made, `${made.strategy} deployments`)
  }

  #acknowledge({ id, version }: DeploymentView, what: string): void {
    this.#acknowledged.set(id, version)
    this.#asked.add(version)
    this.#count(what)
  }

  async #judge(plane: ControlPlane, nodes: readonly Node[]): Promise<void> {
    const views = await until(
      'every deployment has ended',
      () => this.#ended(plane),
      convergeMs,
    ).catch((thrown: unknown) => {
      this.#defects.push(String(thrown))
      return null
    })
    const byId = new Map((views ?? []).map((view) => [view.id as string, view]))
    for (const [id, version] of this.#acknowledged) {
      const view = byId.get(id)
      if (views !== null && view?.version !== version)
        this.#defects.push(`deployment ${id} is lost`)
    }
    for (const { status } of views ?? []) this.#count(`ended ${status}`)
    const inForce = (views ?? []).find(({ status }) => status === 'completed')
    if (inForce === undefined) this.#defects.push('no deployment is completed')
    else await this.#converged(nodes, inForce.version)
    await this.#auditIsWhole(plane)
  }

  /** All deployments, newest first; null while one goes on. One that is paused is let go on without samples. */
  async #ended(plane: ControlPlane): Promise<readonly DeploymentView[] | null> {
    const views: DeploymentView[] = []
    let cursor: string | null = null
    do {
      const after: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const page: Page<DeploymentView> & { readonly next_cursor: string | null } = await plane.api(
        'GET',
        `/deployments?limit=100${after}`,
      )
      views.push(...page.items)
      cursor = page.next_cursor
    } while (cursor !== null)
    for (const { id, rollout } of views) {
      if (rollout.phase === 'paused') await plane.api('POST', `/deployments/${id}/promote`, {})
    }
    const goesOn = views.some(
      ({ status, rollout }) =>
        rollout.phase !== 'ended' || status === 'pending' || status === 'in_progress',
    )
    return goesOn ? null : views
  }

  async #converged(nodes: readonly Node[], version: number): Promise<void> {
    for (const node of nodes) {
      await this.#serves(node, version).catch((thrown: unknown) =>
        this.#defects.push(String(thrown)),
      )
    }
  }

  /** Waits until the node gives nothing but the version's answers; one that is flaky traps in between. */
  async #serves(node: Node, version: number): Promise<void> {
    let last = ''
    let inARow = 0
    await until(`${node.id} answers ${version}`, async () => {
      const response = await node.get('/storm')
      const text = await response.text()
      last = `${response.status} ${text}`
      const isTrap = isFlaky(version) && response.status === 500
      const isAnswer = isTrap || (response.status === 200 && Number(text) === version)
      inARow = isAnswer ? inARow + 1 : 0
      return inARow >= steadyAnswers
    }).catch((thrown: unknown) => {
      throw new Error(`${node.id} answers ${last}, not ${version}`, { cause: thrown })
    })
  }

  async #auditIsWhole(plane: ControlPlane): Promise<void> {
    const { code, stdout, stderr } = await plane.cli('audit', 'verify')
    console.log(`audit verify: exit ${code}, ${(stdout || stderr).trim()}`)
    if (code !== 0) this.#defects.push('the audit log is not whole')
    const log = await plane.run('audit', 'export')
    for (const id of this.#acknowledged.keys()) {
      if (!log.includes(id)) this.#defects.push(`deployment ${id} is not in the audit log`)
    }
  }

  #print(): void {
    console.log(`${this.#acknowledged.size} deployments acknowledged, ${this.#versions} versions`)
    const counts = [...this.#counts, ...this.#answers.counts]
    for (const [what, count] of counts.sort()) console.log(`  ${what}: ${count}`)
    for (const defect of this.#defects.slice(0, defectsPrintedMax)) console.log(`DEFECT: ${defect}`)
    const more = this.#defects.length - defectsPrintedMax
    if (more > 0) console.log(`and ${more} more defects`)
    if (this.#defects.length === 0) console.log('Everything held.')
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Its agent has ended it in between.
  }
}

function isFlaky(version: number): boolean {
  return version % flakyEvery === 0
}

function guest(version: number): Uint8Array<ArrayBuffer> {
  if (!isFlaky(version)) return numberGuest(`(i32.const ${version})`)
  return numberGuest(
    `(block (result i32)
       (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
       (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const 3))) (then (unreachable)))
       (i32.const ${version}))`,
    '(global $calls (mut i32) (i32.const 0))',
  )
}

function settings(): { readonly seconds: number; readonly seed: number; readonly plant: boolean } {
  try {
    const text = (fallback: number) => ({ type: 'string' as const, default: String(fallback) })
    const plant = { type: 'boolean' as const, default: false }
    const { values } = parseArgs({
      options: { seconds: text(60), seed: text(Date.now() % 1e6), plant },
    })
    const [seconds, seed] = [Number(values.seconds), Number(values.seed)]
    if (!(seconds > 0) || !Number.isSafeInteger(seed)) throw new Error('Not a number.')
    return { seconds, seed, plant: values.plant }
  } catch {
    console.error(USAGE)
    process.exit(2)
  }
}

const { seconds, seed, plant } = settings()
console.log(`seconds ${seconds}, seed ${seed}`)
process.exit(await new FleetStorm(seed).run(seconds, plant))
