/** Schedules of losses, crashes and cuts, after which everything must have converged; a seed that fails is named, to be run by itself. */

import { join } from 'node:path'

import { expect, test } from 'bun:test'

import { PLANTS } from './plants.ts'

const program = join(import.meta.dir, 'run.ts')
const schedulesPerProcess = 600

async function run(...words: readonly string[]): Promise<{ code: number; text: string }> {
  // Clocks and timers of a process are replaced, hence one of its own.
  const child = Bun.spawn([process.execPath, program, ...words], {
    stdout: 'pipe',
    stderr: 'ignore',
  })
  const text = await child.stdout.text()
  return { code: await child.exited, text }
}

test('a control plane and its nodes converge after any schedule of crashes, cuts, losses and doubles', async () => {
  const runs = await Promise.all(
    [0, 1].map((half) =>
      run('--schedules', `${schedulesPerProcess}`, '--seed', `${half * schedulesPerProcess + 1}`),
    ),
  )
  for (const { code, text } of runs) {
    expect(text).toEndWith(`${schedulesPerProcess} schedules, 0 broken\n`)
    expect(code).toBe(0)
  }
}, 1_200_000)

test('a seed decides a schedule whole', async () => {
  const words = ['--schedules', '3', '--seed', '77', '--verbose'] as const
  const [one, other] = await Promise.all([run(...words), run(...words)])
  expect(one.text).toBe(other.text)
  expect(one.text).toContain(' is at ')
}, 120_000)

test.each(Object.entries(PLANTS))(
  'a planted defect is noticed within ten schedules: %s',
  async (name, said) => {
    const { code, text } = await run('--schedules', '10', '--plant', name)
    expect(text).toContain(said)
    expect(code).toBe(1)
  },
  120_000,
)
