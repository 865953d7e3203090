import { describe, expect, test } from 'bun:test'

import { checkModule, inspectModule } from '../../src/wasm/check.ts'
import { decodeModule } from '../../src/wasm/decode.ts'
import { MODULE_LIMITS } from '../../src/wasm/limits.ts'
import { normaliseModule } from '../../src/wasm/normalise.ts'
import { body, bytes, customSection, moduleOf, section, vector, VOID_TYPE } from './module-bytes.ts'
import { EDGEFN, SAMPLES } from './samples.ts'
import { assemble, externs, validate } from './wabt.ts'

const normalise = (module: Uint8Array) => normaliseModule(decodeModule(module))

/** The module with a custom section before every section and at the end. */
function sprinkled(module: Uint8Array, custom: Uint8Array): Uint8Array {
  const out = [module.subarray(0, 8)]
  for (let at = 8; at < module.length;) {
    let size = 0
    let next = at + 1
    for (let shift = 0; ; shift += 7) {
      const byte = module[next++] ?? 0
      size |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    out.push(custom, module.subarray(at, next + size))
    at = next + size
  }
  return bytes(...out, custom)
}

describe('a normalised module', () => {
  for (const [sample, text] of Object.entries(SAMPLES)) {
    test(`is valid, the same from outside and a fixed point: ${sample}`, () => {
      const module = assemble(text)
      const normalised = normalise(module)
      expect(validate(normalised)).toEqual({ ok: true, output: '' })
      const withoutTables = (lines: string[]) => lines.map((line) => line.replace(/ max=\d+/, ''))
      expect(withoutTables(externs(normalised))).toEqual(withoutTables(externs(module)))
      expect(externs(normalised).length).toBeGreaterThan(1)
      expect(normalise(normalised)).toEqual(normalised)
    })

    test(`has lost its custom sections, wherever they stood: ${sample}`, () => {
      const module = assemble(text)
      const native = customSection('wasmedge', new TextEncoder().encode('NATIVE CODE'))
      const carrying = sprinkled(module, native)
      expect(inspectModule(carrying).custom_sections.length).toBeGreaterThan(3)
      const normalised = normalise(carrying)
      expect(normalised).toEqual(normalise(module))
      expect(Buffer.from(normalised).includes('NATIVE CODE')).toBe(false)
      expect(inspectModule(normalised).custom_sections).toEqual([])
    })
  }

  test('is what checkModule returns, beside the inspection of what came', () => {
    const module = bytes(
      assemble(EDGEFN),
      customSection('name', [0, 1, 0]),
      customSection('producers', 0),
    )
    const checked = checkModule(module, { entrypoint: 'handle', memory_pages: 1 })
    expect(checked.normalised).toEqual(normalise(module))
    expect(checked.inspection.custom_sections.map((each) => each.name)).toEqual([
      'name',
      'producers',
    ])
    expect(checked.inspection.size_bytes).toBe(module.length)
  })

  test('has a maximum on every table, lowered to the limit where it was higher or absent', () => {
    const tables = section(
      4,
      vector([0x70, 0, 7], [0x70, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f], [0x6f, 1, 2, 3]),
    )
    expect(decodeModule(normalise(moduleOf(tables))).tables).toEqual([
      { element: 'funcref', min: 7, max: MODULE_LIMITS.tableElementsMax },
      { element: 'funcref', min: 1, max: MODULE_LIMITS.tableElementsMax },
      { element: 'externref', min: 2, max: 3 },
    ])
  })

  test('has its sizes and counts in their shortest form, and no empty sections', () => {
    const padded = bytes(0x03, 0x86, 0x80, 0x00, [0x81, 0x80, 0x80, 0x80, 0x00, 0x00])
    const code = bytes(0x0a, 0x87, 0x00, [0x81, 0x00, 0x82, 0x80, 0x00, 0x00, 0x0b])
    const empty = section(7, vector())
    expect(normalise(moduleOf(VOID_TYPE, padded, empty, code))).toEqual(
      moduleOf(VOID_TYPE, section(3, vector(0)), section(10, vector(body([])))),
    )
    expect(normalise(moduleOf(section(1, vector()), section(12, 0)))).toEqual(
      moduleOf(section(12, 0)),
    )
  })
})
