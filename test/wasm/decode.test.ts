import { describe, expect, test } from 'bun:test'

import { EdgefnError } from '../../src/errors.ts'
import { decodeModule } from '../../src/wasm/decode.ts'
import { InstructionCursor } from '../../src/wasm/instructions.ts'
import { Reader } from '../../src/wasm/reader.ts'
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
import { RICH } from './samples.ts'
import { assemble } from './wabt.ts'

function refusal(module: Uint8Array): string {
  try {
    decodeModule(module)
  } catch (error) {
    if (error instanceof EdgefnError) return `${error.code}: ${error.message}`
    throw error
  }
  return 'accepted'
}

const MEMORY = section(5, vector([0x00, 0x01]))
const TABLE = section(4, vector([0x70, 0x00, 0x01]))
const NO_CODE = section(10, vector(body([])))

describe('the header', () => {
  test('a component is refused with the target to build for', () => {
    const component = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00)
    expect(refusal(component)).toStartWith(
      'module_unsupported: The file is a WebAssembly component',
    )
    expect(refusal(component)).toContain('--target wasm32-wasip1')
  })

  test('other bytes are told apart', () => {
    expect(refusal(new Uint8Array())).toBe('module_invalid: The module is empty.')
    expect(refusal(bytes([0x7f, 0x45, 0x4c, 0x46, 2, 1]))).toContain('begin with 7f 45 4c 46')
    expect(refusal(new TextEncoder().encode('(module)'))).toContain('wat2wasm')
    expect(refusal(bytes([0x00, 0x61, 0x73, 0x6d, 1]))).toContain('ends after 5 bytes')
    expect(refusal(bytes([0x00, 0x61, 0x73, 0x6d, 2, 0, 0, 0]))).toContain('version 2, layer 0')
  })
})

describe('sections', () => {
  const cases: [string, Uint8Array, string][] = [
    ['twice', moduleOf(VOID_TYPE, VOID_TYPE), 'section "types"'],
    ['too late', moduleOf(MEMORY, VOID_TYPE), 'too late (section "types"'],
    ['unknown', moduleOf(section(14)), 'Section 0x0e is unknown'],
    ['longer than the module', moduleOf([0x01, 0x7f]), 'announces 127 bytes, 0 are left'],
    ['with bytes left over', moduleOf(section(1, vector(), 0)), '1 bytes are left over'],
    ['without a count', moduleOf(section(1)), 'end too early'],
    ['custom, without a name', moduleOf(section(0)), 'end too early (custom section'],
    ['functions without bodies', moduleOf(VOID_TYPE, ONE_FUNCTION), '1 functions are declared, 0'],
    ['bodies without functions', moduleOf(NO_CODE), '0 functions are declared, 1 have a body'],
    ['a data count of too many', moduleOf(section(12, 1)), 'announces 1 segments, there are 0'],
    [
      'data after a smaller data count',
      moduleOf(section(12, 0), section(11, vector([0x01, 0x00]))),
      'announces 0 segments, there are 1',
    ],
    ['a function of no type', moduleOf(section(3, vector(0))), 'has type 0; there are 0'],
    [
      'an export of nothing',
      moduleOf(section(7, vector(bytes(name('f'), 0, 0)))),
      'names function 0; there are 0',
    ],
    [
      'two exports of one name',
      moduleOf(MEMORY, section(7, vector([1, 0x6d, 2, 0], [1, 0x6d, 2, 0]))),
      '"m" is exported twice',
    ],
    ['a start of no function', moduleOf(section(8, 0)), 'start function is 0; there are 0'],
    [
      'a start with a parameter',
      moduleOf(section(1, vector([0x60, 1, 0x7f, 0])), ONE_FUNCTION, section(8, 0), NO_CODE),
      'has parameters or results',
    ],
    ['a memory too large', moduleOf(section(5, vector([0, ...leb(65_537)]))), 'at most 65536'],
    [
      'a maximum below the minimum',
      moduleOf(section(5, vector([1, 2, 1]))),
      'a maximum of 1 below',
    ],
    [
      'data without memory',
      moduleOf(section(11, vector([0, 0x41, 0, 0x0b, 0]))),
      'the module has none',
    ],
    [
      'elements without table',
      moduleOf(section(9, vector([0, 0x41, 0, 0x0b, 0]))),
      'names table 0',
    ],
    [
      'an element of no function',
      moduleOf(TABLE, section(9, vector([0, 0x41, 0, 0x0b, 1, 3]))),
      'Function 3',
    ],
    [
      'elements of another type',
      moduleOf(TABLE, section(9, vector([6, 0, 0x41, 0, 0x0b, 0x6f, 0]))),
      'for a table of funcref',
    ],
    [
      'a global of another type',
      moduleOf(section(6, vector([0x7e, 0, 0x41, 0, 0x0b]))),
      'i64 is needed, i32 is given',
    ],
    [
      'a global from a global',
      moduleOf(section(6, vector([0x7f, 0, 0x23, 0, 0x0b]))),
      'only the 0 imported',
    ],
    [
      'a global that is computed',
      moduleOf(section(6, vector([0x7f, 0, 0x10, 0, 0x0b]))),
      'Opcode 0x10',
    ],
    ['an unknown type', moduleOf(section(1, vector([0x60, 1, 0x40, 0]))), 'Type 0x40 is unknown'],
  ]
  for (const [what, module, message] of cases) {
    test(`are refused: ${what}`, () => {
      expect(refusal(module)).toContain(message)
      expect(refusal(module)).toStartWith('module_invalid')
    })
  }

  test('custom ones may stand anywhere and are listed with their sizes', () => {
    const custom = customSection('wasmedge', [1, 2, 3])
    const module = decodeModule(moduleOf(custom, VOID_TYPE, custom, MEMORY, custom))
    expect(module.customSections).toEqual(Array(3).fill({ name: 'wasmedge', size: 3 }))
  })
})

describe('function bodies', () => {
  const cases: [string, Uint8Array, string][] = [
    [
      'without their end',
      moduleOf(VOID_TYPE, ONE_FUNCTION, section(10, vector([2, 0, 1]))),
      'end too early',
    ],
    ['with bytes after their end', moduleOfBody([0x0b, 0x01]), 'are left over (function 0'],
    ['with an open block', moduleOfBody([0x02, 0x40]), 'end too early (function 0'],
    ['with an else in a block', moduleOfBody([0x02, 0x40, 0x05, 0x0b]), 'outside of an if'],
    ['with two elses', moduleOfBody([0x41, 0, 0x04, 0x40, 0x05, 0x05, 0x0b]), 'outside of an if'],
    [
      'longer than the section',
      moduleOf(VOID_TYPE, ONE_FUNCTION, section(10, vector([9, 0, 0x0b]))),
      'A body of 9 bytes',
    ],
    ['branching too far', moduleOfBody([0x0c, 0x01]), 'label 1; there are 1'],
    ['calling no function', moduleOfBody([0x10, 0x01]), 'function 1; there are 1'],
    ['with a local that is not there', moduleOfBody([0x20, 0x00]), 'local 0; there are 0'],
    ['with a global that is not there', moduleOfBody([0x23, 0x00]), 'global 0; there are 0'],
    ['calling through no table', moduleOfBody([0x11, 0x00, 0x00]), 'table 0; there are 0'],
    ['loading from no memory', moduleOfBody([0x28, 0x02, 0x00]), 'the module has none'],
    ['loading too aligned', moduleOfBody([0x28, 0x03, 0x00], MEMORY), '2^3 is larger than natural'],
    [
      'dropping data without a count',
      moduleOfBody([0xfc, 9, 0], MEMORY),
      'without a data count section',
    ],
    ['with a block of no type', moduleOfBody([0x02, 0x05, 0x0b]), 'type 5; there are 1'],
    ['with a lane too high', moduleOfBody([0xfd, 21, 16]), 'Lane 16 is named; there are 16'],
    ['with an unknown opcode', moduleOfBody([0x27]), 'Opcode 0x27 is unknown'],
    [
      'with an unknown vector opcode',
      moduleOfBody([0xfd, 0x9a, 0x01]),
      'Opcode 0xfd 154 is unknown',
    ],
    [
      'with a constant too long',
      moduleOfBody([0x41, 0x80, 0x80, 0x80, 0x80, 0x10, 0x1a]),
      'too long',
    ],
  ]
  for (const [what, module, message] of cases) {
    test(`are refused: ${what}`, () => {
      expect(refusal(module)).toContain(message)
      expect(refusal(module)).toStartWith('module_invalid')
    })
  }

  test('can be copied instruction by instruction, with nesting known at each', () => {
    const module = decodeModule(assemble(RICH))
    for (const [i, { code, end }] of module.bodies.entries()) {
      const reader = new Reader(module.bytes, code, end, 'body')
      const cursor = new InstructionCursor(module, reader)
      const type = module.types[module.functions[i] ?? -1]
      if (type === undefined) throw new Error('no type')
      cursor.begin(type, 5)
      const copy: number[] = []
      while (cursor.next()) copy.push(...module.bytes.subarray(cursor.start, reader.at))
      expect(copy).toEqual([...module.bytes.subarray(code, end)])
      expect(cursor.depth).toBe(0)
    }
  })
})

describe('proposals that are left off are refused by name', () => {
  const wat: [string, string, string][] = [
    ['threads', '(module (memory 1 1 shared))', '--enable-threads'],
    [
      'threads',
      '(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))',
      '--enable-threads',
    ],
    ['exception handling', '(module (tag))', '--enable-exceptions'],
    ['exception handling', '(module (func try catch_all end))', '--enable-exceptions'],
    ['tail calls', '(module (func return_call 0))', '--enable-tail-call'],
    ['memory64', '(module (memory i64 1))', '--enable-memory64'],
    ['multi-memory', '(module (memory 1) (memory 1))', '--enable-multi-memory'],
    [
      'extended constant expressions',
      '(module (global i32 (i32.add (i32.const 1) (i32.const 2))))',
      '--enable-extended-const',
    ],
    [
      'relaxed SIMD',
      '(module (func (param v128) local.get 0 local.get 0 i8x16.relaxed_swizzle drop))',
      '--enable-relaxed-simd',
    ],
  ]
  for (const [proposal, text, flag] of wat) {
    test(`${proposal}: ${text}`, () => {
      expect(refusal(assemble(text, flag))).toStartWith(
        `module_unsupported: The module uses the ${proposal} proposal, which edgefn leaves off`,
      )
    })
  }

  const binary: [string, Uint8Array][] = [
    ['garbage collection (GC)', moduleOf(section(1, vector([0x5f, 0])))],
    ['garbage collection (GC)', moduleOf(section(1, vector([0x4e, 0])))],
    ['garbage collection (GC)', moduleOfBody([0xfb, 0])],
    ['garbage collection (GC)', moduleOfBody([], [], [1, 1, 0x6e])],
    ['typed function references', moduleOfBody([], [], [1, 1, 0x63, 0x70])],
    ['typed function references', moduleOfBody([0x14, 0])],
    ['typed function references', moduleOf(section(4, vector([0x40, 0, 0x70, 0, 1])))],
    ['exception handling', moduleOfBody([0x1f, 0x40, 0])],
    ['custom page sizes', moduleOf(section(5, vector([0x08, 0, 0])))],
    ['multi-memory', moduleOfBody([0x28, 0x42, 0, 0], MEMORY)],
    ['multi-memory', moduleOfBody([0x3f, 1], MEMORY)],
    ['wide arithmetic', moduleOfBody([0xfc, 19])],
  ]
  for (const [proposal, module] of binary) {
    test(`${proposal}: ${Buffer.from(module.subarray(8)).toString('hex')}`, () => {
      expect(refusal(module)).toStartWith(
        `module_unsupported: The module uses the ${proposal} proposal`,
      )
    })
  }
})

test('a claimed count of four thousand million costs nothing', () => {
  for (const id of [1, 2, 3, 4, 5, 6, 7, 9, 10, 11]) {
    expect(refusal(moduleOf(section(id, [0xff, 0xff, 0xff, 0xff, 0x0f])))).toStartWith('module_')
  }
  expect(refusal(moduleOfBody([], [], repeated(60_000, [0, 0x7f])))).toBe('accepted')
})
