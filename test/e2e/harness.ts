/** The compiled binary as users run it: control planes and nodes as processes in temporary directories on free ports. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import type { JoinTokenView } from '../../src/protocol/api.ts'
import { cleanEnvironment, Running, type Environment } from './running.ts'

const ROOT = resolve(import.meta.dir, '../..')
export const BINARY = join(ROOT, 'edgefn')
export const GUESTS = join(ROOT, 'test/guests/build')

/** How long anything may take before a test gives up; generous, because two cores may be busy. */
const patienceMs = 60_000

/** Waits until `probe` gives something other than null, undefined or false. A probe that throws is asked again. */
export async function until<T>(
  what: string,
  probe: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  ms = patienceMs,
): Promise<T> {
  const giveUpAt = performance.now() + ms
  let last: unknown
  while (performance.now() < giveUpAt) {
    try {
      const found = await probe()
      if (found !== null && found !== undefined && found !== false) return found
    } catch (thrown) {
      last = thrown
    }
    await Bun.sleep(20)
  }
  throw new Error(`Waited in vain: ${what}.`, { cause: last })
}

/** Ports that were given: the kernel may offer one again before the process that it is for listens there. */
const given = new Set<number>()

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  await new Promise((done) => server.close(done))
  if (address === null || typeof address === 'string') throw new Error('No port was given.')
  if (given.has(address.port)) return freePort()
  given.add(address.port)
  return address.port
}

export interface CliResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A control plane with a fixed address, so that it can be killed and started again as the same one. */
export class ControlPlane {
  readonly dataDir: string
  readonly url: string
  readonly #flags: readonly string[]
  readonly #env: Environment
  #running: Running | null = null

  private constructor(dataDir: string, url: string, flags: readonly string[], env: Environment) {
    this.dataDir = dataDir
    this.url = url
    this.#flags = flags
    this.#env = env
  }

  static async create(
    world: World,
    flags: readonly string[] = [],
    env: Environment = {},
  ): Promise<ControlPlane> {
    const port = await freePort()
    const mqtt = await freePort()
    const dataDir = join(world.dir, `cp-${port}`)
    const broker = flags.includes('--mqtt-listen') || flags.includes('--mqtt-url')
    const all = [
      '--data-dir',
      dataDir,
      '--listen',
      `127.0.0.1:${port}`,
      ...(broker ? [] : ['--mqtt-listen', `127.0.0.1:${mqtt}`]),
      ...flags,
    ]
    const plane = new ControlPlane(dataDir, `http://127.0.0.1:${port}`, all, env)
    world.onClose(() => plane.stop('SIGKILL'))
    return plane
  }

  get output(): string {
    return this.#running?.output ?? ''
  }

  get pid(): number {
    return this.#running?.pid ?? 0
  }

  async start(): Promise<this> {
    const running = new Running([BINARY, 'cp', ...this.#flags], this.#env)
    this.#running = running
    await until('the control plane is ready', async () => {
      running.assertAlive()
      return (await fetch(`${this.url}/ready`)).ok
    })
    return this
  }

  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    await this.#running?.kill(signal)
    this.#running = null
  }

  get key(): string {
    return readFileSync(join(this.dataDir, 'admin-key'), 'utf8').trim()
  }

  /** Calls the API with the owner's key; the body of the answer is taken to be a T. Throws unless the status is 2xx. */
  async api<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${this.key}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return (text === '' ? null : JSON.parse(text)) as T
  }

  /** Runs a CLI command against this control plane. */
  async cli(...words: string[]): Promise<CliResult> {
    const env = cleanEnvironment({ EDGEFN_CP: this.url, EDGEFN_API_KEY: this.key })
    const child = Bun.spawn([BINARY, ...words], { env, stdout: 'pipe', stderr: 'pipe' })
    const [stdout, stderr, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ])
    return { code, stdout, stderr }
  }

  /** Runs a CLI command that must succeed and returns its output. */
  async run(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.cli(...words)
    if (code !== 0) throw new Error(`edgefn ${words.join(' ')}: exit ${code}\n${stdout}${stderr}`)
    return stdout
  }

  async joinToken(pop: string): Promise<string> {
    const created = await this.api<JoinTokenView>('POST', '/join-tokens', { pop_id: pop })
    return created.token
  }
}

/** Told by the node's directory: another test on this machine may have a node of the same name. */
function isWorkerOf(pid: string, dataDir: string): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    return words.includes('\0__worker\0') && words.includes(`"${dataDir}/run/`)
  } catch {
    return false // It ended meanwhile.
  }
}

/** What a node is started with unless its flags say otherwise. */
const NODE_DEFAULTS: readonly (readonly [string, string])[] = [
  ['--workers', '2'],
  ['--heartbeat-interval', '500ms'],
  ['--sync-interval', '1s'],
]

/** A node with fixed addresses and data directory, so that it can be killed and started again as the same one. */
export class Node {
  readonly id: string
  readonly dataDir: string
  readonly url: string
  readonly ops: string
  readonly #flags: readonly string[]
  readonly #env: Environment
  #running: Running | null = null

  private constructor(
    id: string,
    dataDir: string,
    urls: { url: string; ops: string },
    flags: readonly string[],
    env: Environment,
  ) {
    this.id = id
    this.dataDir = dataDir
    this.url = urls.url
    this.ops = urls.ops
    this.#flags = flags
    this.#env = env
  }

  static async create(
    world: World,
    plane: ControlPlane,
    options: { id: string; pop: string; flags?: string[]; env?: Environment; cp?: string },
  ): Promise<Node> {
    const port = await freePort()
    const ops = await freePort()
    const { id, pop, flags = [], env = {}, cp = plane.url } = options
    const dataDir = join(world.dir, id)
    const urls = { url: `http://127.0.0.1:${port}`, ops: `http://127.0.0.1:${ops}` }
    const all = [
      '--pop',
      pop,
      '--cp',
      cp,
      '--token',
      await plane.joinToken(pop),
      '--data-dir',
      dataDir,
      '--node-id',
      id,
      '--listen',
      `127.0.0.1:${port}`,
      '--metrics-listen',
      `127.0.0.1:${ops}`,
      ...NODE_DEFAULTS.filter(([flag]) => !flags.includes(flag)).flat(),
      ...flags,
    ]
    const node = new Node(id, dataDir, urls, all, env)
    world.onClose(() => node.end())
    return node
  }

  get output(): string {
    return this.#running?.output ?? ''
  }

  get pid(): number {
    return this.#running?.pid ?? 0
  }

  async start(untilReady = true): Promise<this> {
    const running = new Running([BINARY, 'edge', ...this.#flags], this.#env)
    this.#running = running
    if (!untilReady) return this
    await until('the node is ready', async () => {
      running.assertAlive()
      return (await fetch(`${this.ops}/ready`)).ok
    })
    return this
  }

  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    await this.#running?.kill(signal)
    this.#running = null
  }

  /** Pids of the node's worker processes, orphans of a killed agent included. */
  workers(): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => isWorkerOf(pid, this.dataDir))
      .map(Number)
  }

  /**
   * The process id of a worker, waited for: one that has just taken another's place is not seen at once. Never 0, which as the target of a
   * signal is everything that runs with the test.
   */
  worker(index: number): Promise<number> {
    return until(`worker ${index} is there`, () => this.workers()[index])
  }

  /** Stops the agent and whatever workers are left. */
  async end(): Promise<void> {
    await this.stop('SIGTERM')
    for (const pid of this.workers()) process.kill(pid, 'SIGKILL')
  }

  async get(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.url}${path}`, init)
  }

  /** The sum of a metric's values, of all or of those whose labels contain `label`. */
  async metric(name: string, label = ''): Promise<number> {
    const text = await (await fetch(`${this.ops}/metrics`)).text()
    return text
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .filter((line) => line.includes(label))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  }
}

/** A test's world: one temporary directory and everything started in it, ended in reverse order. */
export class World {
  readonly dir = mkdtempSync(join(tmpdir(), 'edgefn-e2e-'))
  readonly #closers: (() => Promise<void>)[] = []

  constructor() {
    if (!existsSync(BINARY)) throw new Error('There is no ./edgefn; run `bun run build` first.')
  }

  onClose(close: () => Promise<void>): void {
    this.#closers.push(close)
  }

  async close(): Promise<void> {
    const failures: unknown[] = []
    for (const close of this.#closers.reverse()) {
      await close().catch((thrown: unknown) => failures.push(thrown))
    }
    rmSync(this.dir, { recursive: true, force: true })
    if (failures.length > 0) throw new AggregateError(failures, 'Not everything could be ended.')
  }
}

/** Steady requests from several clients until stopped. */
export function startLoad(url: string, clients: number): { stop(): Promise<LoadReport> } {
  const seen = new Map<string, number>()
  const failures: string[] = []
  let running = true
  let requests = 0
  async function client(): Promise<void> {
    while (running) {
      requests += 1
      try {
        const response = await fetch(url)
        const text = await response.text()
        if (response.status === 200) seen.set(text, (seen.get(text) ?? 0) + 1)
        else failures.push(`${response.status} ${text.slice(0, 200)}`)
      } catch (thrown) {
        failures.push(String(thrown))
      }
      await Bun.sleep(1)
    }
  }
  const done = Promise.all(Array.from({ length: clients }, client))
  return {
    async stop() {
      running = false
      await done
      return { requests, seen, failures }
    },
  }
}

export interface LoadReport {
  readonly requests: number
  /** Bodies of successful answers and how often each came. */
  readonly seen: ReadonlyMap<string, number>
  readonly failures: readonly string[]
}

/** A page of a list, as far as tests look at it. */
export interface Page<T> {
  readonly items: readonly T[]
}

/** What the echo guests answer. */
export interface Echo {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The body of an answer as JSON, taken to be a T. */
export async function jsonOf<T>(response: Response): Promise<T> {
  return (await response.json()) as T
}
