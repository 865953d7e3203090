/** Mutants of real modules: made from seeds, put through ingest, and what is taken called in a process of its own. */

import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { EdgefnError } from '../../src/errors.ts'
import { decodeModule } from '../../src/wasm/decode.ts'
import type { WasmModule } from '../../src/wasm/module.ts'
import { checkWholeModule } from '../../src/wasm/validate.ts'
import { mutate } from './mutation.ts'
import { pick, randomOf } from './random.ts'

const GUESTS = resolve(import.meta.dir, '../guests/build')
const RUNNER = resolve(import.meta.dir, 'mutant-runner.ts')
/** Larger modules tell nothing more and take long. */
const baseBytesMax = 60_000

interface Base {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly module: WasmModule
}

function readBases(): Base[] {
  return readdirSync(GUESTS)
    .filter((name) => name.endsWith('.wasm'))
    .toSorted()
    .map((name) => new Uint8Array(readFileSync(join(GUESTS, name))))
    .filter((bytes) => bytes.length <= baseBytesMax)
    .map((bytes) => ({ bytes, module: decodeModule(bytes) }))
}

export interface MutantReport {
  readonly mutants: number
  readonly accepted: number
  /** Of those, how many were compared with their compiled form. */
  readonly compiled: number
  /** Calls by how they ended. */
  readonly outcomes: Readonly<Record<string, number>>
  readonly rss_bytes: number
  /** What must not be: an ingest that throws anything but a refusal, a process that died, a guest that was not stopped, a compiled form that differs. */
  readonly problems: readonly string[]
}

export interface MutantOptions {
  /** Seeds from here on. */
  readonly first: number
  readonly count: number
  /** One in so many is compiled as well. */
  readonly compileEvery: number
  /** Where what killed the process, or differed, is copied to. */
  readonly saveTo?: string
}

/** Makes and calls the mutants of some seeds. */
export async function runMutants(options: MutantOptions): Promise<MutantReport> {
  const { first, count, compileEvery, saveTo } = options
  const folder = mkdtempSync(join(tmpdir(), 'edgefn-mutants-'))
  try {
    const { accepted, problems } = await writeMutants(folder, first, count)
    const child = Bun.spawn(['bun', RUNNER, folder, String(compileEvery)], {
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const [stdout, stderr, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ])
    const counts = { mutants: count, accepted }
    if (code === 0) {
      const result = JSON.parse(stdout) as Result
      const named = result.problems.flatMap((problem) => /^\d+\.wasm/.exec(problem) ?? [])
      save(folder, named, saveTo)
      return { ...counts, ...result, problems: [...problems, ...result.problems] }
    }
    const running = readFileSync(join(folder, 'running'), 'utf8').split('\n')
    save(folder, running, saveTo)
    const died = `The process ended with ${child.signalCode ?? code} at ${running.join(' ')}: ${stderr.slice(-2000)}`
    return { ...counts, compiled: 0, outcomes: {}, rss_bytes: 0, problems: [...problems, died] }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

interface Result {
  readonly outcomes: Record<string, number>
  readonly compiled: number
  readonly problems: string[]
  readonly rss_bytes: number
}

async function writeMutants(
  folder: string,
  first: number,
  count: number,
): Promise<{ accepted: number; problems: string[] }> {
  const bases = readBases()
  const problems: string[] = []
  let accepted = 0
  for (let seed = first; seed < first + count; seed += 1) {
    const random = randomOf(seed)
    const { bytes, module } = pick(random, bases)
    const mutant = mutate(bytes, module, random)
    try {
      await checkWholeModule(mutant, { entrypoint: 'handle', memory_pages: 32 })
    } catch (thrown) {
      if (!(thrown instanceof EdgefnError))
        problems.push(`seed ${seed}: ingest threw ${String(thrown)}`)
      continue
    }
    accepted += 1
    writeFileSync(join(folder, `${seed}.wasm`), mutant)
  }
  return { accepted, problems }
}

function save(folder: string, files: readonly string[], to: string | undefined): void {
  if (to === undefined) return
  mkdirSync(to, { recursive: true })
  for (const file of files) copyFileSync(join(folder, file), join(to, file))
}
