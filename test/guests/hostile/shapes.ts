/** Guests whose binary form is the attack: malformed, oversized, of other proposals, with native code inside. */

import { readFileSync } from 'node:fs'

import { MODULE_LIMITS } from '../../../src/wasm/limits.ts'
import {
  body,
  bytes,
  customSection,
  leb,
  moduleOf,
  name,
  repeated,
  section,
} from '../../wasm/module-bytes.ts'
import {
  answers,
  edgefn,
  EMPTY_RESPONSE,
  guest,
  handler,
  refused,
  unfit,
  wagi,
  wasi,
} from './guest.ts'
import type { Expectation, HostileGuest } from './guest.ts'

type Bytes = Uint8Array<ArrayBuffer>

/** Items added to a section: how many, and their bytes. */
interface Items {
  readonly count: number
  readonly bytes: Uint8Array
}

interface Additions {
  readonly functions?: Items
  readonly bodies?: Items
  readonly tables?: Items
  readonly globals?: Items
  readonly exports?: Items
  readonly elements?: Items
  readonly data?: Items
  /** Instructions and locals of the handler in place of its own. */
  readonly handle?: { readonly locals: Uint8Array; readonly code: Uint8Array }
  readonly before?: Uint8Array
  readonly behind?: Uint8Array
  readonly memory?: readonly number[]
}

const NONE: Items = { count: 0, bytes: new Uint8Array(0) }
const MEMORY = [0x00, 0x04]

function items(count: number, ...item: number[]): Items {
  return { count, bytes: repeated(count, item).subarray(leb(count).length) }
}

function list(own: number, ownBytes: Uint8Array | readonly number[], added: Items = NONE): Bytes {
  return bytes(leb(own + added.count), ownBytes, added.bytes)
}

/** A module of the edgefn ABI with whatever is added to it: types 0 (handle), 1 (alloc) and 2 (nothing to nothing). */
function binary(added: Additions): Bytes {
  const i32 = 0x7f
  const types = [0x60, 10, ...Array<number>(10).fill(i32), 1, i32, 0x60, 1, i32, 1, i32, 0x60, 0, 0]
  const exported = bytes(name('memory'), 2, 0, name('handle'), 0, 0, name('alloc'), 0, 1)
  // `i32.store8 (local.get 8) (i32.const 10)`, then 1; and an alloc that answers 65536.
  const code = Uint8Array.of(0x20, 8, 0x41, 10, 0x3a, 0, 0, 0x41, 1)
  const { locals, code: instructions } = added.handle ?? { locals: Uint8Array.of(0), code }
  const bodies = bytes(body(instructions, locals), body([0x41, 0x80, 0x80, 0x04]))
  const optional = (id: number, more: Items | undefined) =>
    more === undefined ? new Uint8Array(0) : section(id, list(0, [], more))
  return moduleOf(
    added.before ?? [],
    section(1, list(3, types)),
    section(3, list(2, [0, 1], added.functions)),
    optional(4, added.tables),
    section(5, list(1, added.memory ?? MEMORY)),
    optional(6, added.globals),
    section(7, list(3, exported, added.exports)),
    optional(9, added.elements),
    section(10, list(2, bodies, added.bodies)),
    optional(11, added.data),
    added.behind ?? [],
  )
}

/** Functions of type 2 that do nothing. */
function functions(count: number): Additions {
  return { functions: items(count, 2), bodies: items(count, 2, 0, 0x0b) }
}

/** As many exports of the memory, by names of four digits in base 36. */
function exports(count: number): Additions {
  const names = Array.from({ length: count }, (_, i) =>
    bytes(name(`x${i.toString(36).padStart(4, '0')}`), 2, 0),
  )
  return { exports: { count, bytes: bytes(...names) } }
}

/** A handler that ends at once, with whatever instructions before. */
function handle(code: Uint8Array, locals: Uint8Array = Uint8Array.of(0)): Additions {
  return { handle: { locals, code: bytes(code, [0x20, 8, 0x41, 10, 0x3a, 0, 0, 0x41, 1]) } }
}

function nested(depth: number): Additions {
  return handle(
    bytes(
      new Uint8Array(depth * 2).map((_, i) => (i % 2 === 0 ? 0x02 : 0x40)),
      new Uint8Array(depth).fill(0x0b),
    ),
  )
}

function branchTable(targets: number): Additions {
  return handle(bytes([0x02, 0x40, 0x41, 0, 0x0e], leb(targets), new Uint8Array(targets + 1), 0x0b))
}

/** Unreachable code of `count` bytes that the validator has to pass. */
function nops(count: number): Additions {
  return handle(new Uint8Array(count).fill(0x01))
}

/** A whole module that has as many instructions of one byte and answers an empty 200. */
export function nopModule(instructions: number): Uint8Array<ArrayBuffer> {
  return binary(nops(instructions))
}

const L = MODULE_LIMITS
/** The second is what JavaScriptCore says of locals and parameters together. */
const LIMIT = /limit|too big/

/** What stands at its limit is served, what is one over it is refused. */
const LIMITS: readonly (readonly [string, (count: number) => Additions, number])[] = [
  ['functions', (count) => functions(count - 2), L.functionsMax],
  ['globals', (count) => ({ globals: items(count, 0x7f, 1, 0x41, 0, 0x0b) }), L.globalsMax],
  ['exports', (count) => exports(count - 3), L.exportsMax],
  ['tables', (count) => ({ tables: items(count, 0x70, 0, 1) }), L.tablesMax],
  [
    'table elements',
    (count) => ({ tables: { count: 1, bytes: bytes(0x70, 0, leb(count)) } }),
    L.tableElementsMax,
  ],
  [
    'element segments',
    (count) => ({ tables: items(1, 0x70, 0, 1), elements: items(count, 0, 0x41, 0, 0x0b, 0) }),
    L.elementSegmentsMax,
  ],
  ['data segments', (count) => ({ data: items(count, 0, 0x41, 0, 0x0b, 0) }), L.dataSegmentsMax],
  // Parameters count as well.
  ['locals', (count) => handle(new Uint8Array(0), bytes(1, leb(count - 10), 0x7b)), L.localsMax],
  ['nested blocks', nested, L.nestingMax],
  ['targets of a br_table', branchTable, L.branchTargetsMax],
]

const AT_LIMITS: readonly HostileGuest[] = LIMITS.flatMap(([what, build, limit]) => [
  guest(`${limit} ${what}, as many as there may be`, () => binary(build(limit)), answers(200)),
  guest(`${limit + 1} ${what}, one too many`, () => binary(build(limit + 1)), refused(LIMIT)),
])

const ELF = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]

const BINARIES: readonly (readonly [string, () => Bytes, Expectation])[] = [
  ['no byte at all', () => new Uint8Array(0), refused(/empty/)],
  [
    'a program of this machine',
    () => Uint8Array.from(readFileSync('/bin/true')),
    refused(/not a WebAssembly module/),
  ],
  ['text', () => new TextEncoder().encode('(module)'), refused(/wat2wasm/)],
  ['a header and nothing else', () => moduleOf(), refused(/no ABI/)],
  ['a component', () => Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0), refused(/component/)],
  [
    'a section longer than the file',
    () => bytes(binary({}), 11, leb(0xffffffff)),
    refused(/announces/),
  ],
  [
    'sections in the wrong order',
    () => bytes(binary({}), section(1, [0])),
    refused(/too late|twice/),
  ],
  [
    'a section twice',
    () => bytes(binary({ data: items(1, 0, 0x41, 0, 0x0b, 0) }), section(11, [0])),
    refused(/too late|twice/),
  ],
  [
    'four billion functions announced',
    () => moduleOf(section(1, [0]), section(3, leb(0xffffffff))),
    refused(LIMIT),
  ],
  [
    'four billion locals',
    () => binary(handle(new Uint8Array(0), bytes(1, leb(0xffffffff), 0x7f))),
    refused(LIMIT),
  ],
  [
    'locals whose sum wraps around',
    () => binary(handle(new Uint8Array(0), bytes(2, leb(0xffffffff), 0x7f, leb(0xffffffff), 0x7f))),
    refused(LIMIT),
  ],
  [
    'a table of four billion elements',
    () => binary({ tables: { count: 1, bytes: bytes(0x70, 0, leb(0xffffffff)) } }),
    refused(LIMIT),
  ],
  [
    'a memory larger than it may be',
    () => binary({ memory: [0, 17] }),
    refused(/memory pages, memory_pages is 16/),
  ],
  [
    'a memory of more than four gigabytes',
    () => binary({ memory: [0, 0x81, 0x80, 0x04] }),
    refused(/at most 65536/),
  ],
  ['a shared memory', () => binary({ memory: [3, 1, 2] }), refused(/threads/)],
  ['a memory of 64 bits', () => binary({ memory: [4, 1] }), refused(/memory64/)],
  [
    'names that are no UTF-8',
    () => binary({ exports: { count: 1, bytes: bytes(2, 0xff, 0xfe, 2, 0) } }),
    refused(/UTF-8/),
  ],
  [
    'the memory exported twice by one name',
    () => binary({ exports: { count: 1, bytes: bytes(name('memory'), 2, 0) } }),
    refused(/exported twice/),
  ],
  [
    'an export named edgefn:depth',
    () => binary({ exports: { count: 1, bytes: bytes(name('edgefn:depth'), 0, 1) } }),
    refused(/keeps for itself/),
  ],
  ['a body of 8 MB', () => binary(nops(8_000_000)), refused(LIMIT)],
  ['a body that does not end', () => binary(handle(Uint8Array.of(0x02, 0x40))), refused(/end/)],
  [
    'an integer that is too long',
    () => binary(handle(Uint8Array.of(0x41, 0x80, 0x80, 0x80, 0x80, 0x70, 0x1a))),
    refused(/too long/),
  ],
  ['a tail call', () => binary(handle(Uint8Array.of(0x12, 0))), refused(/tail calls/)],
  ['an atomic operation', () => binary(handle(Uint8Array.of(0xfe, 0x03, 0))), refused(/threads/)],
  ['an exception', () => binary(handle(Uint8Array.of(0x08, 0))), refused(/exception handling/)],
  [
    'an operation of garbage collection',
    () => binary(handle(Uint8Array.of(0xfb, 0, 0))),
    refused(/GC/),
  ],
  [
    'a relaxed vector operation',
    () => binary(handle(Uint8Array.of(0xfd, 0x80, 0x02))),
    refused(/relaxed SIMD/),
  ],
  ['a body of the wrong type', () => binary(handle(Uint8Array.of(0x42, 0))), refused(/not valid/)],
  [
    'a start function with a result',
    () =>
      bytes(
        moduleOf(section(1, [1, 0x60, 0, 1, 0x7f]), section(3, [1, 0]), section(8, 0)),
        section(10, [1, 4, 0, 0x41, 0, 0x0b]),
      ),
    refused(/start function/),
  ],
  [
    'native code in a custom section named wasmedge',
    () =>
      binary({ behind: customSection('wasmedge', ELF, new Uint8Array(readFileSync('/bin/true'))) }),
    answers(200),
  ],
  [
    'custom sections everywhere, some of them broken',
    () =>
      binary({
        before: customSection('name', [1, 0xff, 0xff]),
        behind: bytes(customSection('wasmedge'), customSection('', new Uint8Array(50_000))),
      }),
    answers(200),
  ],
  [
    'a body of seven million instructions that do nothing',
    () => binary(nops(7_000_000)),
    answers(200),
  ],
]

const TEXTS: readonly (readonly [string, string, Expectation])[] = [
  [
    'an import that does not exist',
    edgefn('(i32.const 0)', { imports: '(import "env" "system" (func (param i32)))' }),
    refused(/does not exist/),
  ],
  [
    'an import of the wrong type',
    edgefn('(i32.const 0)', { imports: '(import "edgefn" "log" (func (param i64)))' }),
    refused(/its type is/),
  ],
  [
    'an imported memory',
    '(module (import "env" "memory" (memory 1)))',
    refused(/only functions can be imported/),
  ],
  [
    'an imported table of four billion elements',
    '(module (import "env" "t" (table 4294967295 funcref)))',
    refused(LIMIT),
  ],
  [
    'one import 990 times',
    edgefn(EMPTY_RESPONSE, {
      imports: '(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))'.repeat(990),
    }),
    answers(200),
  ],
  [
    'one import 1001 times',
    edgefn('(i32.const 0)', {
      imports: '(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))'.repeat(1001),
    }),
    refused(LIMIT),
  ],
  [
    'a handle of the wrong type',
    `(module (memory (export "memory") 1) (func (export "handle") (param i32) (result i32) (i32.const 0)) (func (export "alloc") (param i32) (result i32) (i32.const 0)))`,
    refused(/no ABI/),
  ],
  [
    'a handle that is a table',
    `(module (memory (export "memory") 1) (table (export "handle") 1 funcref) (func (export "alloc") (param i32) (result i32) (i32.const 0)))`,
    refused(/no ABI/),
  ],
  [
    'a memory that is a global',
    `(module (global (export "memory") i32 (i32.const 0)) ${handler('(i32.const 0)')})`,
    refused(/no ABI/),
  ],
  [
    'an _initialize with parameters',
    edgefn('(i32.const 0)', { fields: '(func (export "_initialize") (param i32))' }),
    refused(/_initialize/),
  ],
  [
    'both ABIs at once, of which the one exits',
    edgefn(EMPTY_RESPONSE, {
      imports: wasi('proc_exit'),
      fields: '(func (export "_start") (call $proc_exit (i32.const 1)))',
    }),
    unfit('function_load_failed'),
  ],
  [
    'an entrypoint of a host function',
    wagi('', {
      imports: '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))',
      fields: '(export "handle" (func $exit))',
    }),
    { outcome: 'fails', codes: ['invalid_response'] },
  ],
]

export const SHAPES: readonly HostileGuest[] = [
  ...BINARIES.map(([what, build, expects]) => guest(`a module of ${what}`, build, expects)),
  ...TEXTS.map(([what, text, expects]) => guest(`a module with ${what}`, text, expects)),
  ...AT_LIMITS,
]
