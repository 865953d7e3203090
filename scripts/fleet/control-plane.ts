/** A control plane of the built binary, in a directory of its own, and what can be asked of its process. */

import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { processorMicros, residentBytes } from '../benchmarks/processes.ts'

const binary = join(import.meta.dir, '../../edgefn')
const startMsMax = 60_000

export class ControlPlane {
  readonly url: string
  readonly dir: string
  readonly #ports: readonly [number, number]
  readonly #options: readonly string[]
  #process: Bun.Subprocess | null = null
  #key = ''

  private constructor(dir: string, ports: readonly [number, number], options: readonly string[]) {
    this.dir = dir
    this.#ports = ports
    this.#options = options
    this.url = `http://127.0.0.1:${ports[0]}`
  }

  /** In a temporary directory, with free ports; `options` are flags of `edgefn cp`. It does not run yet. */
  static async create(options: readonly string[] = []): Promise<ControlPlane> {
    const dir = mkdtempSync(join(tmpdir(), 'edgefn-fleet-'))
    mkdirSync(join(dir, 'cp'))
    return new ControlPlane(dir, [await freePort(), await freePort()], options)
  }

  /** Starts it and resolves, when it is ready, with the milliseconds that took. */
  async start(): Promise<number> {
    const startedAt = performance.now()
    const [api, mqtt] = this.#ports
    const log = openSync(join(this.dir, 'cp.log'), 'a')
    this.#process = Bun.spawn(
      [
        binary,
        'cp',
        ...['--data-dir', join(this.dir, 'cp')],
        ...['--listen', `127.0.0.1:${api}`, '--mqtt-listen', `127.0.0.1:${mqtt}`],
        ...this.#options,
      ],
      { stdout: log, stderr: log },
    )
    while (!(await this.#isReady())) {
      if (this.#process.exitCode !== null) throw new Error(`The control plane ended: ${this.log()}`)
      if (performance.now() - startedAt > startMsMax) throw new Error('It does not become ready.')
      await Bun.sleep(10)
    }
    this.#key = readFileSync(join(this.dir, 'cp', 'admin-key'), 'utf8').trim()
    return performance.now() - startedAt
  }

  get pid(): number {
    if (this.#process === null) throw new Error('The control plane does not run.')
    return this.#process.pid
  }

  /** Ends it at once, as a power cut does. */
  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL')
    await this.#process?.exited
  }

  async remove(): Promise<void> {
    await this.kill()
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** A call of the API as the owner. Throws for an answer that is not a success. */
  async call(
    method: 'GET' | 'POST',
    path: string,
    body?: unknown,
  ): Promise<Record<string, unknown>> {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#key}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text}`)
    return JSON.parse(text) as Record<string, unknown>
  }

  /** The value of a metric without labels, or the sum over its labels; 0 when there is none. */
  async metric(name: string, label = ''): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text()
    const lines = text.split('\n').filter((line) => {
      return (line.startsWith(`${name} `) || line.startsWith(`${name}{`)) && line.includes(label)
    })
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  }

  residentBytes(): number {
    return residentBytes([this.pid])
  }

  processorMicros(): number {
    return processorMicros([this.pid])
  }

  /** The last lines of its log. */
  log(): string {
    return readFileSync(join(this.dir, 'cp.log'), 'utf8').split('\n').slice(-20).join('\n')
  }

  async #isReady(): Promise<boolean> {
    try {
      return (await fetch(`${this.url}/ready`)).ok
    } catch {
      return false
    }
  }
}

function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const server = createServer()
  server.on('error', reject)
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    server.close(() => resolve(port))
  })
  return promise
}
