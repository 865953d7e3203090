import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'

import { EdgefnError } from '../../src/errors.ts'
import { checkModule, inspectModule } from '../../src/wasm/check.ts'
import { decodeModule } from '../../src/wasm/decode.ts'
import { normaliseModule } from '../../src/wasm/normalise.ts'
import { bytes, moduleOf, section } from './module-bytes.ts'
import { SAMPLES } from './samples.ts'
import { assemble } from './wabt.ts'

/** Far above what a module of some hundred bytes takes, far below what a claimed count would. */
const MILLISECONDS_MAX = 5000

const bases = Object.values(SAMPLES).map((text) => assemble(text))
const anyBase = fc.constantFrom(...bases)
const anyByte = fc.nat(255)

/** Runs everything a stranger's bytes go through; whatever is thrown must be a refusal. */
function ingest(module: Uint8Array): void {
  const before = performance.now()
  inspectModule(module)
  try {
    const { normalised } = checkModule(module, { entrypoint: 'handle', memory_pages: 16 })
    expect(normaliseModule(decodeModule(normalised))).toEqual(normalised)
  } catch (error) {
    expect(error).toBeInstanceOf(EdgefnError)
    expect((error as EdgefnError).code).toMatch(/^module_(invalid|unsupported)$/)
  }
  expect(performance.now() - before).toBeLessThan(MILLISECONDS_MAX)
}

describe('hostile bytes end in a refusal or a module, soon', () => {
  test('any bytes at all', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), ingest), { numRuns: 500 })
  })

  test('any section of any bytes', () => {
    const parts = fc.array(fc.tuple(fc.nat(13), fc.uint8Array({ maxLength: 40 })), { maxLength: 6 })
    fc.assert(
      fc.property(parts, (sections) =>
        ingest(moduleOf(...sections.map(([id, content]) => section(id, content)))),
      ),
      { numRuns: 1000 },
    )
  })

  test('valid modules with some bytes changed', () => {
    const changes = fc.array(fc.tuple(fc.nat(), anyByte), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(anyBase, changes, (base, changed) => {
        const module = base.slice()
        for (const [place, byte] of changed) module[place % module.length] = byte
        ingest(module)
      }),
      { numRuns: 2000 },
    )
  })

  test('valid modules with bytes put in, taken out, doubled', () => {
    const cut = fc.tuple(fc.nat(), fc.nat(20), fc.uint8Array({ maxLength: 20 }))
    fc.assert(
      fc.property(anyBase, cut, (base, [place, count, inserted]) => {
        const at = place % base.length
        ingest(bytes(base.subarray(0, at), inserted, base.subarray(at + count)))
        ingest(bytes(base.subarray(0, at), base.subarray(Math.max(0, at - count))))
      }),
      { numRuns: 1000 },
    )
  })

  test('valid modules cut off anywhere', () => {
    for (const base of bases) {
      for (let length = 0; length < base.length; length++) ingest(base.subarray(0, length))
    }
  })

  test('a view that is not at the start of its buffer', () => {
    const [base] = bases
    if (base === undefined) throw new Error('no sample')
    const buffer = bytes(new Uint8Array(13).fill(0xff), base, new Uint8Array(5).fill(0xff))
    const view = buffer.subarray(13, 13 + base.length)
    expect(normaliseModule(decodeModule(view))).toEqual(normaliseModule(decodeModule(base)))
  })
})
