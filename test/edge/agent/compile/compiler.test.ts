import { afterEach, expect, test } from 'bun:test'
import {
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import type { CompileCommand } from '../../../../src/edge/agent/compile/compile-process.ts'
import { runCompileProcess } from '../../../../src/edge/agent/compile/compile-process.ts'
import { CompiledStore } from '../../../../src/edge/agent/compile/compiled-store.ts'
import { Compiler } from '../../../../src/edge/agent/compile/compiler.ts'
import type { CompileJob } from '../../../../src/edge/compile/job.ts'
import type { CompiledModule } from '../../../../src/edge/compiled.ts'
import type { ErrorCode } from '../../../../src/errors.ts'
import { EdgefnError, errorMessage } from '../../../../src/errors.ts'
import type { Manifest } from '../../../../src/protocol/manifest.ts'
import { createLog } from '../../../../src/telemetry/log.ts'
import { decodeModule } from '../../../../src/wasm/decode.ts'
import { normaliseModule } from '../../../../src/wasm/normalise.ts'
import { makeManifest } from '../fixtures/manifests.ts'
import { until } from '../fixtures/node.ts'

const MAIN = resolve(import.meta.dir, '../../../../src/main.ts')
const GUEST = resolve(import.meta.dir, '../../../guests/build/hello-c.wasm')

const real: CompileCommand = (job) => [process.execPath, MAIN, '__compile', JSON.stringify(job)]

const dirs: string[] = []
const compilers: { close: () => Promise<void> }[] = []
afterEach(async () => {
  for (const { close } of compilers.splice(0)) await close()
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true })
})

function makeDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'edgefn-compiler-'))
  dirs.push(dir)
  return dir
}

function artifact(dir: string): { manifest: Manifest; path: string } {
  const bytes = normaliseModule(decodeModule(new Uint8Array(readFileSync(GUEST))))
  const path = join(dir, 'artifact.wasm')
  writeFileSync(path, bytes)
  return { manifest: makeManifest({ bytes }), path }
}

interface Setting {
  readonly dir: string
  readonly command?: CompileCommand
  readonly refuse?: (compiled: CompiledModule) => boolean
  readonly refuseWith?: ErrorCode
}

/** A compiler over a real store and real processes; what it would have the workers do is noted. */
function start(setting: Setting) {
  const { dir, command = real, refuse = () => false } = setting
  const { refuseWith = 'function_load_failed' } = setting
  const { manifest, path } = artifact(dir)
  const store = new CompiledStore(join(dir, 'compiled'), 2 ** 30)
  const closing = new AbortController()
  const levels: string[] = []
  const lines: string[] = []
  const compiler = new Compiler({
    store,
    command,
    processor: 'test',
    log: createLog({ component: 'test', level: 'info', write: (line) => lines.push(line) }),
    closing: closing.signal,
    memory: { shortage: new AbortController().signal, enough: () => Promise.resolve() },
    artifactPath: () => path,
    swap: async (_manifest, compiled, loaded) => {
      if (refuse(compiled)) throw new EdgefnError(refuseWith, 'No.')
      loaded()
      levels.push(compiled.level)
    },
  })
  compilers.push({
    close: async () => {
      closing.abort()
      await compiler.close()
    },
  })
  const opened = compiler.open().then(() => compiler.want([manifest]))
  const said = (word: string) => lines.some((line) => line.includes(word))
  return { compiler, store, manifest, levels, opened, said }
}

test('a function is compiled soon and then well, and a restarted node has the better form at once', async () => {
  const dir = makeDir()
  const first = start({ dir })
  await until('compiled', () => first.levels.length === 2)
  expect(first.levels).toEqual(['O0', 'O2'])
  expect(first.compiler.formOf(first.manifest)?.level).toBe('O2')
  await compilers.splice(0)[0]?.close()

  const second = start({ dir })
  await until('compiled', () => second.levels.length === 1)
  expect(second.levels).toEqual(['O2'])
  expect(second.compiler.counts.compiled).toEqual({ O0: 0, O2: 0 })
}, 120_000)

test('a file that was changed on disk is not used, and made anew', async () => {
  const dir = makeDir()
  const first = start({ dir })
  await until('compiled', () => first.levels.length === 2)
  await compilers.splice(0)[0]?.close()
  for (const name of readdirSync(join(dir, 'compiled')).filter((each) => each.endsWith('.wasm'))) {
    const path = join(dir, 'compiled', name)
    const bytes = readFileSync(path)
    bytes[bytes.length - 5] = (bytes[bytes.length - 5] ?? 0) ^ 1
    writeFileSync(path, bytes)
  }
  const second = start({ dir })
  await until('compiled', () => second.levels.length === 2)
  expect(second.compiler.counts.compiled).toEqual({ O0: 1, O2: 1 })
}, 120_000)

test('a compiler that crashes at a level costs that level only, is told, and is not asked again', async () => {
  const dir = makeDir()
  let crashes = 0
  const command: CompileCommand = (job) => {
    if (job.kind !== 'module' || job.level !== 'O0') return real(job)
    crashes += 1
    return ['sh', '-c', 'kill -SEGV $$']
  }
  const { levels, said, compiler, manifest } = start({ dir, command })
  await until('compiled', () => levels.length === 1)
  expect(levels).toEqual(['O2'])
  expect(said('SIGSEGV')).toBe(true)
  expect(compiler.counts.failed).toEqual({ O0: 1, O2: 0 })
  compiler.want([manifest])
  expect(crashes).toBe(1)
}, 120_000)

test('a compiler that somebody kills says nothing about the module: it is tried again', async () => {
  const dir = makeDir()
  const command: CompileCommand = (job) =>
    job.kind === 'module' ? ['sh', '-c', 'kill -KILL $$'] : real(job)
  const killed = start({ dir, command })
  await until('both levels failed', () => killed.compiler.counts.failed.O2 === 1)
  expect(killed.said('SIGKILL')).toBe(true)
  const again = start({ dir })
  await until('compiled', () => again.levels.length === 2)
}, 120_000)

test('a compiler that fails while the disk is full is asked again', async () => {
  const dir = makeDir()
  const command: CompileCommand = (job) => (job.kind === 'module' ? ['false'] : real(job))
  const full = start({ dir, command })
  full.store.freeBytes = () => 4096
  await until('both levels failed', () => full.compiler.counts.failed.O2 === 1)
  expect(full.said('too full')).toBe(true)
  const again = start({ dir })
  expect(again.store.freeBytes()).toBeGreaterThan(0)
  await until('compiled', () => again.levels.length === 2)
}, 120_000)

test('the compilation of what is not in service any more ends, so that others get their turn', async () => {
  const compiling: string[] = []
  const command: CompileCommand = (job) => {
    if (job.kind !== 'module') return real(job)
    compiling.push(job.level)
    return ['sleep', '60']
  }
  const { compiler, manifest, said } = start({ dir: makeDir(), command })
  await until('it compiles', () => compiling.length === 1)
  const other = { ...manifest, version: manifest.version + 1 }
  compiler.want([other])
  await until('the other one compiles', () => compiling.length === 2)
  expect(compiling).toEqual(['O0', 'O0'])
  expect(said('could not be compiled')).toBe(false)
}, 120_000)

test('a compiler that is ended leaves no files behind, nor do those of an earlier agent', async () => {
  const dir = makeDir()
  const left = (job: CompileJob) => `${job.output.slice(0, -'tmp'.length)}9f.o`
  const command: CompileCommand = (job) =>
    job.kind === 'module'
      ? ['sh', '-c', 'touch "$0" "$1"; kill -KILL $$', job.output, left(job)]
      : real(job)
  const { compiler } = start({ dir, command })
  await until('failed', () => compiler.counts.failed.O2 === 1)
  const extra = () =>
    readdirSync(join(dir, 'compiled')).filter((name) => !/\.(?:wasm|json|pem)$/.test(name))
  expect(extra()).toEqual([])
  writeFileSync(join(dir, 'compiled', 'earlier.9f.so'), '')
  new CompiledStore(join(dir, 'compiled'), 2 ** 30)
  expect(extra()).toEqual([])
}, 120_000)

test.each(['function_quarantined', 'execution_timeout'] as const)(
  'what is refused with %s for now is not refused for ever',
  async (refuseWith) => {
    const dir = makeDir()
    const { said } = start({ dir, refuse: () => true, refuseWith })
    await until('refused', () => said('could not be compiled'))
    const records = readdirSync(join(dir, 'compiled')).filter((name) => name.endsWith('.json'))
    const made = records.map((name) => readFileSync(join(dir, 'compiled', name), 'utf8'))
    expect(made.length).toBeGreaterThan(1)
    for (const record of made) expect(JSON.parse(record)).toMatchObject({ made: true })
  },
  60_000,
)

test('a form that the workers refuse leaves the function at the one below', async () => {
  const { levels, said, compiler, manifest } = start({
    dir: makeDir(),
    refuse: ({ level }) => level === 'O2',
  })
  await until('compiled', () => said('could not be compiled'))
  expect(levels).toEqual(['O0'])
  expect(compiler.formOf(manifest)?.level).toBe('O0')
  expect(said('"runs":"O0"')).toBe(true)
}, 120_000)

test('a store that can keep nothing, as on a full disk, does not keep a node from starting', () => {
  const path = join(makeDir(), 'file')
  writeFileSync(path, '')
  const store = new CompiledStore(join(path, 'compiled'), 2 ** 30)
  expect(store.publicKey).not.toBe('')
  expect(store.usage()).toEqual({ bytes: 0, files: 0 })
  expect(store.find({ source: 'a', level: 'O0', target: 't' })).toBeNull()
})

const JOB = {
  kind: 'module',
  source: '/dev/null',
  sha256: 'a'.repeat(64) as never,
  level: 'O0',
  stop_mode: 'polls',
  output: '/dev/null',
  cpu_seconds_max: 1,
} as const

test.each([
  [
    'takes too long',
    ['sleep', '60'],
    { bytesMax: 2 ** 40, wallMsPerCpuSecond: 300 },
    'over 300 ms',
    false,
  ],
  [
    'takes too much memory',
    [process.execPath, '-e', 'const b = new Uint8Array(400e6).fill(1); setTimeout(() => b, 60e3)'],
    { bytesMax: 2 ** 28, wallMsPerCpuSecond: 60_000 },
    'bytes of memory',
    true,
  ],
  [
    'answers nonsense',
    ['echo', 'hello'],
    { bytesMax: 2 ** 40, wallMsPerCpuSecond: 9e3 },
    'code 0',
    true,
  ],
  [
    'is killed by somebody',
    ['sh', '-c', 'kill -KILL $$'],
    { bytesMax: 2 ** 40, wallMsPerCpuSecond: 9e3 },
    'SIGKILL',
    false,
  ],
])(
  'a compile process that %s is ended and named',
  async (_what, command, limits, words, isFinal) => {
    const never = new AbortController().signal
    const thrown = await runCompileProcess(
      () => command,
      JOB,
      { closing: never, shortage: never },
      limits,
    ).catch((reason: unknown) => reason)
    expect(errorMessage(thrown)).toContain(words)
    // Whether it is held against the module.
    expect(thrown instanceof EdgefnError).toBe(isFinal)
  },
  60_000,
)

test('the real process keeps to its processor time', async () => {
  const never = new AbortController().signal
  const burn = 'ulimit -t 1; while :; do :; done'
  const failed = await runCompileProcess(() => ['bash', '-c', burn], JOB, {
    closing: never,
    shortage: never,
  }).then(
    () => null,
    (thrown: unknown) => errorMessage(thrown),
  )
  expect(failed).toMatch(/processor time|SIGKILL/)
}, 120_000)

test('a compile process ends with the agent that started it, even when that is killed', async () => {
  // It reads its artifact from a pipe that never gives one, so that it is in the middle of its job.
  const source = join(makeDir(), 'artifact.wasm')
  Bun.spawnSync(['mkfifo', source])
  const command = [process.execPath, MAIN, '__compile', JSON.stringify({ ...JOB, source })]
  const agent = Bun.spawn({
    cmd: [
      process.execPath,
      '-e',
      `const { pid } = Bun.spawn(${JSON.stringify(command)}, { stdout: 'ignore' })
       console.log(pid); setInterval(() => {}, 1e6)`,
    ],
    stdout: 'pipe',
  })
  const { value } = await agent.stdout.getReader().read()
  const pid = Number(new TextDecoder().decode(value))
  const reads = () => {
    try {
      return openSync(source, constants.O_WRONLY | constants.O_NONBLOCK) > 0
    } catch {
      return false
    }
  }
  try {
    await until('the process reads', reads)
    expect(existsSync(`/proc/${pid}`)).toBe(true)
    agent.kill('SIGKILL')
    await until('the process is gone', () => !existsSync(`/proc/${pid}`))
  } finally {
    agent.kill('SIGKILL')
    if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL')
  }
}, 120_000)
