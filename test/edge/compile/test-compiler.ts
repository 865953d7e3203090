/** Compiles guests as a node does: in a process of the program's own, signed with a key made for the test. */

import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

import type { CompiledFile, CompileLevel, StopMode } from '../../../src/edge/compiled.ts'
import type { CompiledName } from '../../../src/edge/compiled-signature.ts'
import { compileTarget, holderName, signCompiled } from '../../../src/edge/compiled-signature.ts'
import type { CompileAnswer, CompileJob } from '../../../src/edge/compile/job.ts'
import { compileAnswerSchema } from '../../../src/edge/compile/job.ts'
import type { WorkerFunction } from '../../../src/edge/ipc.ts'
import { sha256Schema } from '../../../src/protocol/ids.ts'

const MAIN = resolve(import.meta.dir, '../../../src/main.ts')

/** Runs a compile process to its end. */
export async function runCompileJob(job: CompileJob): Promise<CompileAnswer> {
  const child = Bun.spawn([process.execPath, MAIN, '__compile', JSON.stringify(job)], {
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const printed = (await new Response(child.stdout).text()).trim().split('\n').at(-1) ?? ''
  await child.exited
  if (printed === '') {
    const errors = await new Response(child.stderr).text()
    return {
      ok: false,
      error: `The process ended with ${child.signalCode ?? child.exitCode}: ${errors}`,
    }
  }
  return compileAnswerSchema.parse(JSON.parse(printed))
}

export class TestCompiler {
  readonly #dir: string
  readonly #stopMode: StopMode
  readonly #keys = generateKeyPairSync('ed25519')
  readonly #target: string
  #holder: Promise<CompiledFile> | null = null
  #files = 0

  constructor(dir: string, stopMode: StopMode = 'polls') {
    this.#dir = dir
    this.#stopMode = stopMode
    this.#target = compileTarget('test', 'test', stopMode)
  }

  /** SPKI, DER, base64. */
  get publicKey(): string {
    return this.#keys.publicKey.export({ format: 'der', type: 'spki' }).toString('base64')
  }

  /** The function in its compiled form. Throws when it cannot be compiled. */
  async compile(fn: WorkerFunction, level: CompileLevel): Promise<WorkerFunction> {
    const target = this.#target
    this.#holder ??= this.#make(holderName(target), {
      kind: 'self_test',
      stop_mode: this.#stopMode,
      output: this.#path(),
      cpu_seconds_max: 60,
    })
    const module = await this.#make(
      { source: fn.sha256, level, target },
      {
        kind: 'module',
        source: fn.path ?? '',
        sha256: fn.sha256,
        level,
        stop_mode: this.#stopMode,
        output: this.#path(),
        cpu_seconds_max: 120,
      },
    )
    const holder = await this.#holder
    return { ...fn, compiled: { level, target, module, holder } }
  }

  async #make(name: CompiledName, job: CompileJob): Promise<CompiledFile> {
    const answer = await runCompileJob(job)
    if (!answer.ok) throw new Error(answer.error)
    const bytes = readFileSync(job.output)
    const sha256 = sha256Schema.parse(new Bun.CryptoHasher('sha256').update(bytes).digest('hex'))
    const signature = signCompiled(this.#keys.privateKey, name, sha256)
    return { path: job.output, sha256, size_bytes: bytes.length, signature }
  }

  #path(): string {
    this.#files += 1
    return join(this.#dir, `compiled-${this.#files}.wasm`)
  }
}
