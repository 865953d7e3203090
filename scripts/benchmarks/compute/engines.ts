/** Who runs the kernels: servers by HTTP, this machine's own code, and libwasmedge called directly. */

import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'

import { noteRunning } from '../servers/running.ts'
import type { Server } from '../servers/server.ts'

/** Modules by name; their kernels in the order in which `guests/kernels.h` has them. */
export const KERNELS = {
  scalar: ['fib', 'sha256', 'json', 'regex', 'matrix', 'sieve', 'mandelbrot'],
  simd: ['mandelbrot', 'matrix', 'count', 'hash'],
} as const
export type KernelModule = keyof typeof KERNELS

export interface Work {
  readonly module: KernelModule
  /** Place of the kernel in its module. */
  readonly kernel: number
  readonly times: number
}

export interface Done {
  readonly nanoseconds: number
  readonly checksum: number
}

export interface Engine {
  readonly name: string
  run(work: Work): Promise<Done>
}

/** The kernels behind `/scalar/…` and `/simd/…` of a server each; a call's time is that of its request. */
export function httpEngine(name: string, servers: Readonly<Record<KernelModule, Server>>): Engine {
  return {
    name,
    async run({ module, kernel, times }) {
      const url = `${servers[module].url}/${module}/${KERNELS[module][kernel]}/${times}`
      const startedAt = Bun.nanoseconds()
      const response = await fetch(url)
      const text = await response.text()
      const nanoseconds = Bun.nanoseconds() - startedAt
      if (!response.ok) throw new Error(`${name}: ${response.status} ${text.slice(0, 300)}`)
      return { nanoseconds, checksum: Number(text) }
    },
  }
}

/** A child that answers each line with `NANOSECONDS CHECKSUM`. */
export class LineProcess {
  readonly #name: string
  readonly #child: Bun.Subprocess<'pipe', 'pipe', 'inherit'>
  readonly #answers: AsyncIterator<string>
  readonly #ended = noteRunning(this)

  constructor(name: string, command: readonly string[]) {
    this.#name = name
    this.#child = Bun.spawn([...command], { stdin: 'pipe', stdout: 'pipe', stderr: 'inherit' })
    const input = Readable.fromWeb(this.#child.stdout)
    this.#answers = createInterface({ input })[Symbol.asyncIterator]()
  }

  async ask(line: string): Promise<Done> {
    this.#child.stdin.write(`${line}\n`)
    await this.#child.stdin.flush()
    const { value, done } = await this.#answers.next()
    if (done === true) throw new Error(`${this.#name} ended at ${line}.`)
    const [nanoseconds, checksum] = value.split(' ')
    return { nanoseconds: Number(nanoseconds), checksum: Number(checksum) }
  }

  async stop(): Promise<void> {
    this.#ended()
    this.#child.kill('SIGTERM')
    await this.#child.exited
  }
}
