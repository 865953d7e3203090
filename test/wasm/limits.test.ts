import { describe, expect, test } from 'bun:test'

import { LIMITS } from '../../src/protocol/limits.ts'
import { decodeModule } from '../../src/wasm/decode.ts'
import { MODULE_LIMITS } from '../../src/wasm/limits.ts'
import {
  body,
  bytes,
  customSection,
  leb,
  moduleOf,
  moduleOfBody,
  name,
  ONE_FUNCTION,
  repeated,
  section,
  vector,
  VOID_TYPE,
} from './module-bytes.ts'

const L = MODULE_LIMITS
const TYPE = [0x60, 0, 0]
const MEMORY = section(5, vector([0x00, 0x01]))

/** A module that has `count` of something. */
type Make = (count: number) => Uint8Array

function nested(depth: number): Uint8Array {
  return bytes(...Array<number[]>(depth).fill([0x02, 0x40]), new Uint8Array(depth).fill(0x0b))
}

function exportsOf(count: number): Uint8Array {
  const items = Array.from({ length: count }, (_, i) => bytes(name(`e${i}`), 2, 0))
  return section(7, leb(count), ...items)
}

function tableOf(...sizes: number[]): Uint8Array {
  return section(4, leb(sizes.length), ...sizes.map((size) => bytes(0x70, 0, leb(size))))
}

/** Elements in segments of at most 60 000, so that the sum is what counts. */
function elementItems(count: number): Uint8Array {
  const segments: Uint8Array[] = []
  for (let left = count; left > 0; left -= 60_000) {
    segments.push(bytes(0x01, 0x00, repeated(Math.min(left, 60_000), 0)))
  }
  return section(9, leb(segments.length), ...segments)
}

function withElements(elements: Uint8Array): Uint8Array {
  return moduleOf(VOID_TYPE, ONE_FUNCTION, elements, section(10, vector(body([]))))
}

const wideType = (params: number, results: number) =>
  bytes(0x60, repeated(params, 0x7f), repeated(results, 0x7f))

const cases: [string, number, Make, string][] = [
  ['types', L.typesMax, (n) => moduleOf(section(1, repeated(n, TYPE))), 'types'],
  [
    'parameters',
    L.typeParamsMax,
    (n) => moduleOf(section(1, vector(wideType(n, 0)))),
    'parameters in type 0',
  ],
  [
    'results',
    L.typeResultsMax,
    (n) => moduleOf(section(1, vector(wideType(0, n)))),
    'results in type 0',
  ],
  [
    'type values',
    L.typeValuesMax / 500,
    (n) => moduleOf(section(1, repeated(n, wideType(400, 100)))),
    'parameters and results in all its types',
  ],
  [
    'imports',
    L.importsMax,
    (n) => moduleOf(VOID_TYPE, section(2, repeated(n, bytes(name('m'), name('f'), 0, 0)))),
    'imports',
  ],
  [
    'functions',
    L.functionsMax,
    (n) => moduleOf(VOID_TYPE, section(3, repeated(n, 0)), section(10, repeated(n, body([])))),
    'functions',
  ],
  [
    'globals',
    L.globalsMax,
    (n) => moduleOf(section(6, repeated(n, [0x7f, 0, 0x41, 0, 0x0b]))),
    'globals',
  ],
  ['exports', L.exportsMax, (n) => moduleOf(MEMORY, exportsOf(n)), 'exports'],
  [
    'custom sections',
    L.customSectionsMax,
    (n) => moduleOf(...Array<Uint8Array>(n).fill(customSection('x'))),
    'custom sections',
  ],
  ['name bytes', L.nameBytesMax, (n) => moduleOf(customSection('x'.repeat(n))), 'A name has'],
  ['tables', L.tablesMax, (n) => moduleOf(tableOf(...Array<number>(n).fill(1))), 'tables'],
  ['table elements', L.tableElementsMax, (n) => moduleOf(tableOf(n)), 'elements'],
  [
    'table elements of two tables',
    L.tableElementsMax,
    (n) => moduleOf(tableOf(n - 1, 1)),
    'elements',
  ],
  [
    'element segments',
    L.elementSegmentsMax,
    (n) => withElements(section(9, repeated(n, [1, 0, 0]))),
    'element segments',
  ],
  ['element items', L.elementItemsMax, (n) => withElements(elementItems(n)), 'items'],
  [
    'data segments',
    L.dataSegmentsMax,
    (n) => moduleOf(section(11, repeated(n, [1, 0]))),
    'data segments',
  ],
  [
    'a data count',
    L.dataSegmentsMax,
    (n) => moduleOf(section(12, leb(n)), section(11, repeated(n, [1, 0]))),
    'data segments',
  ],
  [
    'locals',
    L.localsMax,
    (n) => moduleOfBody([], [], vector([...leb(n - 1), 0x7f], [1, 0x7e])),
    'locals',
  ],
  ['nesting', L.nestingMax, (n) => moduleOfBody(nested(n)), 'Blocks are nested more than'],
  [
    'br_table targets',
    L.branchTargetsMax,
    (n) => moduleOfBody(bytes(0x41, 0, 0x0e, repeated(n, 0), 0)),
    'targets in one br_table',
  ],
  [
    'body bytes',
    L.bodyBytesMax,
    (n) => moduleOfBody(new Uint8Array(n - 2).fill(0x01)),
    'body of function 0',
  ],
  [
    'instructions',
    L.instructionsMax,
    (n) => {
      // The last `end` of each body counts as well.
      const bodies = [5_000_000, n - 5_000_000].map((count) =>
        body(new Uint8Array(count - 1).fill(0x01)),
      )
      return moduleOf(VOID_TYPE, section(3, vector(0, 0)), section(10, vector(...bodies)))
    },
    'instructions or more; the limit is',
  ],
  [
    'module bytes',
    L.moduleBytesMax,
    (n) => moduleOf(customSection('x', new Uint8Array(n - 8 - 7))),
    'bytes; the limit is',
  ],
]

describe('each limit takes what is at it and refuses one more', () => {
  for (const [what, limit, make, message] of cases) {
    test(what, () => {
      expect(() => decodeModule(make(limit))).not.toThrow()
      expect(() => decodeModule(make(limit + 1))).toThrow(
        expect.objectContaining({
          code: 'module_unsupported',
          message: expect.stringContaining(message),
        }),
      )
    })
  }
})

describe('validation steps', () => {
  const wide = section(1, vector([0x60, 0, 0], wideType(1000, 1000)))
  const functions = section(3, vector(0, 1))
  const wideBody = body(0x00)
  const calls = (count: number) =>
    new Uint8Array(count * 3).map((_, i) => [0x10, 0x01, 0x00][i % 3] ?? 0)

  test('half a megabyte of calls with a thousand values each is refused', () => {
    const module = moduleOf(
      wide,
      functions,
      section(10, vector(body(bytes(0, calls(170_000))), wideBody)),
    )
    expect(() => decodeModule(module)).toThrow('operands and locals')
  })

  test('the same for blocks, branches, returns and locals', () => {
    const blocks = bytes(0, ...Array<number[]>(2000).fill([0x02, 0x01, 0x00, 0x0b, 0x00]))
    const branches = bytes(0, 0x02, 0x01, 0x00, 0x0e, repeated(2000, 0), 0, 0x0b, 0x00)
    for (const code of [blocks, branches]) {
      const module = moduleOf(wide, functions, section(10, vector(body(code), wideBody)))
      expect(() => decodeModule(module)).toThrow('operands and locals')
    }
    const returns = bytes(0, new Uint8Array(2000).fill(0x0f))
    expect(() =>
      decodeModule(moduleOf(wide, functions, section(10, vector(body([]), body(returns))))),
    ).toThrow('operands and locals')
    const many = body([], vector([...leb(50_000), 0x7f]))
    expect(() =>
      decodeModule(
        moduleOf(VOID_TYPE, section(3, repeated(1000, 0)), section(10, repeated(1000, many))),
      ),
    ).toThrow('operands and locals')
  })
})

test('the module size is the one the protocol names', () => {
  expect(MODULE_LIMITS.moduleBytesMax).toBe(LIMITS.moduleBytesMax)
})

test('ten megabytes are decoded in well under a second', () => {
  const code = body(
    new Uint8Array(100_000).map((_, i) => [0x41, 0x7f, 0x1a][i % 3] ?? 0).subarray(0, 99_999),
  )
  const module = moduleOf(VOID_TYPE, section(3, repeated(100, 0)), section(10, repeated(100, code)))
  const rounds = [1, 2, 3].map(() => {
    const before = performance.now()
    decodeModule(module)
    return performance.now() - before
  })
  expect(Math.min(...rounds)).toBeLessThan(1000)
})
