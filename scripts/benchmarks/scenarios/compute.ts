/** Functions that compute: time per call with edgefn's limits on, without them, in workerd, and as this machine's own code. */

import { join } from 'node:path'

import { httpEngine, KERNELS, LineProcess } from '../compute/engines.ts'
import type { Engine, KernelModule, Work } from '../compute/engines.ts'
import { atLeast, atMost } from '../goals.ts'
import { guestPath, withServers } from '../scenario.ts'
import type { Bench, Scenario, ScenarioResult } from '../scenario.ts'
import { Edgefn } from '../servers/edgefn.ts'
import { startWorkerd } from '../servers/peers.ts'
import type { Server } from '../servers/server.ts'
import { geometricMean, median, pairedRatio } from '../statistics.ts'
import { figure, ratio, type Table } from '../table.ts'

const MODULES: Readonly<Record<KernelModule, string>> = {
  scalar: 'bench-scalar-c',
  simd: 'bench-simd-c',
}
const NATIVE_SOURCE = join(import.meta.dir, '../guests/native-kernels.c')
/** Milliseconds of a call, by the speed of native code: long beside what a request costs. */
const callMs = 60
/** Calls of each engine before it is measured: V8 compiles twice, edgefn's lane settles. */
const warmCalls = 6
/** Rounds for each of `--rounds`: a round of a kernel is a fraction of a second. */
const roundsFactor = 3

interface KernelTimes {
  readonly module: KernelModule
  readonly kernel: string
  readonly times: number
  /** Nanoseconds per iteration of each round, by engine. */
  readonly rounds: Readonly<Record<string, readonly number[]>>
}

export const compute: Scenario = {
  name: 'compute',
  about: 'kernels of computation, scalar and SIMD, with limits and without, in workerd and native',
  async run(bench) {
    const { dir, say } = bench
    say('compiling the kernels')
    const children = await startChildren(dir)
    try {
      const starts = [
        () => startEdgefn(),
        ...(['scalar', 'simd'] as const).map((module) => () => {
          const path = guestPath(MODULES[module])
          return startWorkerd(dir, { name: `workerd ${module}`, script: 'guest.js', module: path })
        }),
      ]
      return await withServers(starts, async ([edgefn, scalar, simd]) => {
        const servers = { edgefn, scalar, simd }
        return reportOf(await measureAll(enginesOf(children, servers), bench))
      })
    } finally {
      for (const child of Object.values(children)) await child.stop()
    }
  },
}

type Children = Readonly<Record<KernelModule | 'direct', LineProcess>>

async function startChildren(dir: string): Promise<Children> {
  const native = (module: KernelModule) => {
    const path = join(dir, `native-${module}`)
    const flags = module === 'simd' ? ['-DKERNELS_SIMD'] : []
    const built = Bun.spawnSync(['clang', '-O2', ...flags, NATIVE_SOURCE, '-o', path])
    if (built.exitCode !== 0) throw new Error(`clang: ${built.stderr.toString()}`)
    return new LineProcess(`native ${module}`, [path])
  }
  const script = join(import.meta.dir, '../compute/direct-process.ts')
  const modules = [guestPath(MODULES.scalar), guestPath(MODULES.simd)]
  return {
    scalar: native('scalar'),
    simd: native('simd'),
    direct: new LineProcess('libwasmedge', [process.execPath, script, ...modules]),
  }
}

function startEdgefn(): Promise<Edgefn> {
  const flags = ['--max-execution-ms', '10000', '--memory-pages', '32']
  const modules = ['scalar', 'simd'] as const
  const deployments = modules.map((name) => ({ name, module: guestPath(MODULES[name]), flags }))
  return Edgefn.serving({ workers: 1 }, deployments)
}

interface Servers {
  readonly edgefn: Server | undefined
  readonly scalar: Server | undefined
  readonly simd: Server | undefined
}

/** In the order in which a round calls them: those that are compared stand side by side. */
function enginesOf(children: Children, { edgefn, scalar, simd }: Servers): readonly Engine[] {
  if (edgefn === undefined || scalar === undefined || simd === undefined)
    throw new Error('No servers.')
  const direct = (form: string): Engine => ({
    name: form,
    run: ({ module, kernel, times }) =>
      children.direct.ask(`${form} ${module === 'scalar' ? 0 : 1} ${kernel} ${times}`),
  })
  return [
    direct('plain'),
    direct('guarded'),
    httpEngine('edgefn', { scalar: edgefn, simd: edgefn }),
    httpEngine('workerd', { scalar, simd }),
    {
      name: 'native',
      run: ({ module, kernel, times }) => children[module].ask(`${kernel} ${times}`),
    },
  ]
}

async function measureAll(
  engines: readonly Engine[],
  { settings, say }: Bench,
): Promise<KernelTimes[]> {
  const measured: KernelTimes[] = []
  for (const module of ['scalar', 'simd'] as const) {
    for (const [kernel, name] of KERNELS[module].entries()) {
      const times = await timesOf(engines, module, kernel)
      say(`${module} ${name}, ${times} times a call`)
      const rounds = await measureKernel(
        engines,
        { module, kernel, times },
        settings.rounds * roundsFactor,
      )
      measured.push({ module, kernel: name, times, rounds })
    }
  }
  return measured
}

/** How often a kernel runs in a call, so that native code takes `callMs`. */
async function timesOf(
  engines: readonly Engine[],
  module: KernelModule,
  kernel: number,
): Promise<number> {
  const native = engines.find(({ name }) => name === 'native')
  const tries = 10
  await native?.run({ module, kernel, times: tries })
  const done = await native?.run({ module, kernel, times: tries })
  return Math.max(1, Math.round((callMs * 1e6) / ((done?.nanoseconds ?? Number.NaN) / tries)))
}

async function measureKernel(
  engines: readonly Engine[],
  work: Work,
  rounds: number,
): Promise<Record<string, number[]>> {
  const checksums = new Set<number>()
  for (const engine of engines) {
    for (let call = 0; call < warmCalls; call++) await engine.run(work)
  }
  const taken: Record<string, number[]> = {}
  for (let round = 0; round < rounds; round++) {
    for (const engine of engines) {
      const { nanoseconds } = await engine.run(work)
      ;(taken[engine.name] ??= []).push(nanoseconds / work.times)
    }
  }
  // A kernel goes on where its last call has left its data, so that all engines are at the same call now.
  for (const engine of engines) checksums.add((await engine.run(work)).checksum)
  if (checksums.size !== 1) {
    throw new Error(
      `Kernel ${work.kernel} of ${work.module}: checksums ${[...checksums].join(', ')}.`,
    )
  }
  return taken
}

interface Ratios {
  readonly limits: number
  readonly workerd: number
  readonly native: number
}

function ratiosOf({ rounds }: KernelTimes): Ratios {
  const of = (name: string) => rounds[name] ?? []
  return {
    limits: pairedRatio(of('guarded'), of('plain')),
    workerd: pairedRatio(of('workerd'), of('edgefn')),
    native: pairedRatio(of('edgefn'), of('native')),
  }
}

function reportOf(measured: readonly KernelTimes[]): ScenarioResult {
  const mean = (pick: (ratios: Ratios) => number, module?: KernelModule) =>
    geometricMean(
      measured
        .filter((each) => module === undefined || each.module === module)
        .map(ratiosOf)
        .map(pick),
    )
  const limits = (module?: KernelModule) => mean((each) => each.limits, module)
  const workerd = (module?: KernelModule) => mean((each) => each.workerd, module)
  const native = (module?: KernelModule) => mean((each) => each.native, module)
  const means = (['scalar', 'simd'] as const).map((module) => [
    `${module}, geometric mean`,
    ...Array<string>(5).fill(''),
    ratio(limits(module)),
    ratio(workerd(module)),
    ratio(native(module)),
  ])
  const table: Table = {
    title: 'compute, µs per iteration of a kernel',
    head: [
      'kernel',
      'native',
      'edgefn',
      'workerd',
      'direct',
      'direct, limits',
      'limits ×',
      'workerd / edgefn',
      'edgefn / native',
    ],
    rows: [...measured.map(rowOf), ...means],
  }
  return {
    tables: [table],
    goals: [
      atMost(1.08, 'compute: with limits × without, geometric mean', limits()),
      atLeast(1.1, 'compute: speed × workerd, scalar, geometric mean', workerd('scalar')),
      atLeast(1.3, 'compute: speed × workerd, SIMD, geometric mean', workerd('simd')),
    ],
    notes: [
      'edgefn and workerd are called by HTTP, with so many iterations a request that the request hardly counts. ' +
        'direct: libwasmedge called in a process of its own, with the module compiled as it is, and as edgefn rewrites it.',
    ],
    raw: measured,
  }
}

function rowOf(measured: KernelTimes): string[] {
  const micros = (name: string) => figure(median(measured.rounds[name] ?? []) / 1000)
  const { limits, workerd, native } = ratiosOf(measured)
  return [
    `${measured.module} ${measured.kernel}`,
    ...['native', 'edgefn', 'workerd', 'plain', 'guarded'].map(micros),
    ratio(limits),
    ratio(workerd),
    ratio(native),
  ]
}
