import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

import { expect, test } from 'bun:test'

import { decodeModule } from '../../../src/wasm/decode.ts'
import { normaliseModule } from '../../../src/wasm/normalise.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'
import { formsOf, invalidForms } from '../../fuzz/rewriting.ts'

const GUESTS = resolve(import.meta.dir, '../../guests/build')
const seeds = 120

test('random modules are taken as wabt takes them, and do the same when they are rewritten', async () => {
  const runner = resolve(import.meta.dir, '../../fuzz/referee-runner.ts')
  const child = Bun.spawn([process.execPath, runner, String(seeds)], { stdout: 'pipe' })
  const printed = await new Response(child.stdout).text()
  expect(await child.exited).toBe(0)
  const { problems, ...counts } = JSON.parse(printed) as Record<string, unknown> & {
    accepted: number
    rewritten: number
    calls: number
    overflown: number
  }
  expect(problems).toEqual([])
  // Refusals would agree as well: what was really run is counted. The seeds are fixed, binaryen's version is not.
  expect(counts.accepted).toBeGreaterThan(seeds / 2)
  expect(counts.rewritten).toBeGreaterThan(seeds / 6)
  expect(counts.calls).toBeGreaterThan(seeds * 2)
  expect(counts.overflown).toBeGreaterThan(seeds / 20)
}, 300_000)

const guests = readdirSync(GUESTS).filter((name) => name.endsWith('.wasm'))

test.each(guests)(
  '%s is valid for wabt and this runtime in every form it takes',
  (name) => {
    const module = decodeModule(new Uint8Array(readFileSync(join(GUESTS, name))))
    const normalised = normaliseModule(module)
    const forms = formsOf(normalised, LIMITS.stackBytesMax)
    expect(invalidForms([normalised, ...forms.map(({ bytes }) => bytes)])).toEqual([])
  },
  60_000,
)
