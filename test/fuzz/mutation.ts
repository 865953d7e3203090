/** Mutations of real modules that often stay valid: other opcodes of the same type, other constants, other indices. */

import { SECTION } from '../../src/wasm/decode.ts'
import { Writer } from '../../src/wasm/encode.ts'
import { InstructionCursor } from '../../src/wasm/instructions.ts'
import type { Body, WasmModule } from '../../src/wasm/module.ts'
import { functionType } from '../../src/wasm/module.ts'
import { OPCODE } from '../../src/wasm/opcodes.ts'
import { Reader } from '../../src/wasm/reader.ts'
import { countLocals } from '../../src/wasm/rewrite/profile.ts'
import { encodeModule } from '../../src/wasm/rewrite/sections.ts'
import { below, pick, randomBytes } from './random.ts'

type Bytes = Uint8Array<ArrayBuffer>
type Random = () => number

/** Opcodes that may stand for one another: they take and give the same types. */
const CLASSES: readonly (readonly number[])[] = [
  range(0x46, 0x4f), // comparisons of i32
  range(0x51, 0x5a), // of i64
  range(0x5b, 0x60), // of f32
  range(0x61, 0x66), // of f64
  [0x45, 0x67, 0x68, 0x69, 0xc0, 0xc1], // i32 to i32
  range(0x6a, 0x78), // two i32 to one
  [0x79, 0x7a, 0x7b, 0xc2, 0xc3, 0xc4],
  range(0x7c, 0x8a),
  range(0x8b, 0x91),
  range(0x92, 0x98),
  range(0x99, 0x9f),
  range(0xa0, 0xa6),
  [0xac, 0xad], // i32 to i64
  [0x2c, 0x2d], // loads of bytes
  [0x20, 0x23], // local.get, global.get
  [0x21, 0x24],
  [OPCODE.branch, OPCODE.branchIf],
]

const INTERESTING = [0, 1, -1, 2, 64, 255, 65_535, 65_536, 2 ** 24, 2 ** 31 - 1, -(2 ** 31)]

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at)
}

/** One mutant of a module; `module` is `bytes` decoded. */
export function mutate(bytes: Uint8Array, module: WasmModule, random: Random): Bytes {
  const rounds = 1 + below(random, 3)
  if (random() < 0.2 || module.bodies.length === 0) return mutateBytes(bytes, random, rounds)
  const chosen = new Map<number, Uint8Array>()
  for (let round = 0; round < rounds; round += 1) {
    const at = below(random, module.bodies.length)
    const body = module.bodies[at] as Body
    chosen.set(at, mutateBody(module, at, body, random))
  }
  const code = new Writer(bytes.length)
  code.u32(module.bodies.length)
  for (const [at, body] of module.bodies.entries()) {
    const content = chosen.get(at) ?? module.bytes.subarray(body.start, body.end)
    code.u32(content.length)
    code.raw(content)
  }
  return encodeModule(module, { [SECTION.code]: { replaced: code.done() } })
}

/** Anything at all, anywhere behind the header. */
function mutateBytes(bytes: Uint8Array, random: Random, rounds: number): Bytes {
  let out = new Uint8Array(bytes)
  for (let round = 0; round < rounds; round += 1) {
    const at = 8 + below(random, out.length - 8)
    const kind = below(random, 4)
    const cut = kind === 1 ? below(random, 20) : 0
    const added = kind === 2 ? randomBytes(random, below(random, 8)) : new Uint8Array(0)
    if (kind === 0) out[at] = below(random, 256)
    else if (kind === 3) out[at] = (out[at] as number) ^ (1 << below(random, 8))
    else out = joined(out.subarray(0, at), added, out.subarray(at + cut))
  }
  return out
}

interface Instruction {
  readonly start: number
  readonly end: number
  readonly opcode: number
}

function instructionsOf(module: WasmModule, at: number, body: Body): Instruction[] {
  const reader = new Reader(module.bytes, body.code, body.end, 'a function')
  const cursor = new InstructionCursor(module, reader)
  cursor.begin(
    functionType(module, module.importedFunctions + at),
    countLocals(module, body).declared,
  )
  const found: Instruction[] = []
  while (cursor.next()) found.push({ start: cursor.start, end: reader.at, opcode: cursor.opcode })
  return found
}

/** The body with one instruction changed, doubled or gone. */
function mutateBody(module: WasmModule, at: number, body: Body, random: Random): Uint8Array {
  const instructions = instructionsOf(module, at, body)
  const target = pick(random, instructions)
  const old = module.bytes.subarray(target.start, target.end)
  const before = module.bytes.subarray(body.start, target.start)
  const behind = module.bytes.subarray(target.end, body.end)
  return joined(before, replacement(target.opcode, old, random), behind)
}

function replacement(opcode: number, old: Uint8Array, random: Random): Uint8Array {
  if (opcode === 0x41 || opcode === 0x42) return joined([opcode], signed(pick(random, INTERESTING)))
  const class_ = CLASSES.find((each) => each.includes(opcode))
  if (class_ !== undefined && random() < 0.7) return joined([pick(random, class_)], old.subarray(1))
  const isIndexed =
    old.length === 2 && (opcode <= OPCODE.callIndirect || (opcode >= 0x20 && opcode <= 0x26))
  if (isIndexed) return Uint8Array.of(opcode, below(random, 12))
  if (opcode >= 0x28 && opcode <= 0x3e)
    return joined([opcode], [0], unsigned(below(random, 2 ** 32)))
  return pick(random, [
    new Uint8Array(0),
    joined(old, old),
    Uint8Array.of(0x00),
    Uint8Array.of(0x1a),
  ])
}

function joined(...parts: readonly (Uint8Array | readonly number[])[]): Bytes {
  const out = new Writer(64)
  for (const part of parts) out.raw(part instanceof Uint8Array ? part : Uint8Array.from(part))
  return out.done()
}

function unsigned(value: number): Uint8Array {
  const out = new Writer(5)
  out.u32(value)
  return out.done()
}

/** Signed LEB128 of a 32-bit integer. */
function signed(value: number): Uint8Array {
  const bytes: number[] = []
  for (let rest = value; ; rest >>= 7) {
    const low = rest & 0x7f
    const isLast =
      (rest >> 6 === 0 && (low & 0x40) === 0) || (rest >> 6 === -1 && (low & 0x40) !== 0)
    bytes.push(isLast ? low : low | 0x80)
    if (isLast) return Uint8Array.from(bytes)
  }
}
