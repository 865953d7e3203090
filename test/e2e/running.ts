/** One process of the compiled binary and what it has printed. */

import { tmpdir } from 'node:os'

/** Variables that a process gets besides. */
export type Environment = Readonly<Record<string, string>>

/** Environment without anything that would configure edgefn by accident. */
export function cleanEnvironment(extra: Environment): Record<string, string> {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('EDGEFN_'))
  return { ...(Object.fromEntries(own) as Record<string, string>), ...extra }
}

/** One process of the binary; its output is kept for failures. */
export class Running {
  readonly #command: readonly string[]
  readonly #process: Bun.Subprocess<'ignore', 'pipe', 'pipe'>
  #output = ''

  constructor(command: readonly string[], env: Environment) {
    this.#command = command
    this.#process = Bun.spawn([...command], {
      cwd: tmpdir(),
      env: cleanEnvironment(env),
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    void this.#collect(this.#process.stdout)
    void this.#collect(this.#process.stderr)
  }

  get pid(): number {
    return this.#process.pid
  }

  get output(): string {
    return this.#output
  }

  get exited(): Promise<number> {
    return this.#process.exited
  }

  /** Throws with the output when the process is gone. */
  assertAlive(): void {
    if (this.#process.exitCode === null && this.#process.signalCode === null) return
    throw new Error(`${this.#command.join(' ')} ended:\n${this.#output}`)
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.#process.kill(signal)
    await this.#process.exited
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    for await (const piece of stream) this.#output += decoder.decode(piece, { stream: true })
  }
}
