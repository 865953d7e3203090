/**
 * What each function of a compiled module takes of the native stack. The rewriting reckons with estimates
 * (`wasm/rewrite/stack-plan.ts`); that these hold is checked here, on the code that will run.
 */

import type { NativeCode } from './native-code.ts'
import { readNativeCode } from './native-code.ts'
import { readUnwindTable } from './unwind.ts'

const X86_64 = 1
const AARCH64 = 2

export interface MeasuredFrames {
  /** Bytes of each function that the module defines, in their order. */
  readonly functions: Float64Array
  /** Most bytes of any other code, which connects functions with their callers outside. */
  readonly otherBytesMax: number
}

/**
 * Measures a compiled module. `indirect` says which functions call through a table: only those may move the stack pointer
 * in ways that the unwind table does not tell, for the values of a call, which take `callBytes` at most. Throws when something
 * cannot be measured.
 */
export function measureFrames(
  module: Uint8Array,
  indirect: readonly boolean[],
  callBytes: number,
): MeasuredFrames {
  const code = readNativeCode(module)
  const entries = readUnwindTable(code.unwind)
  const frames = new Map<number, { bytes: number; pointer: boolean }>()
  for (const { address, frameBytes, framePointerFrom } of entries) {
    const below = framePointerFrom === null ? 0 : belowPointer(code, framePointerFrom) + callBytes
    frames.set(address, { bytes: frameBytes + below, pointer: framePointerFrom !== null })
  }
  const functions = Float64Array.from(code.functions, (address, index) => {
    const frame = frames.get(address)
    if (frame === undefined) throw new Error(`Function ${index} has no unwind entry.`)
    if (frame.pointer && indirect[index] !== true) {
      throw new Error(`The frame of function ${index} cannot be measured.`)
    }
    return frame.bytes
  })
  for (const address of code.functions) frames.delete(address)
  const others = [...frames.values()].map(({ bytes }) => bytes)
  return { functions, otherBytesMax: Math.max(0, ...others) }
}

/** Bytes that the prologue takes after it has set the frame pointer, at `from`. */
function belowPointer({ text, architecture }: NativeCode, from: number): number {
  const code = text.bytes.subarray(from - text.address)
  if (architecture === X86_64) return x86Prologue(code)
  if (architecture === AARCH64) return armPrologue(code)
  throw new Error(`Architecture ${architecture} is unknown.`)
}

/** `push` of registers, then `and rsp, -n` for alignment and `sub rsp, n`. */
function x86Prologue(code: Uint8Array): number {
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength)
  let bytes = 0
  let at = 0
  for (;;) {
    const first = code[at] ?? 0
    const second = code[at + 1] ?? 0
    if (first === 0x41 && second >= 0x50 && second <= 0x57) at += 2
    else if (first >= 0x50 && first <= 0x57) at += 1
    else if (first === 0x48 && second === 0x83 && code[at + 2] === 0xe4) {
      bytes += 256 - (code[at + 3] ?? 0)
      at += 4
      continue
    } else if (first === 0x48 && second === 0x81 && code[at + 2] === 0xe4) {
      bytes += 2 ** 32 - view.getUint32(at + 3, true)
      at += 7
      continue
    } else if (first === 0x48 && second === 0x83 && code[at + 2] === 0xec) {
      return bytes + (code[at + 3] ?? 0)
    } else if (first === 0x48 && second === 0x81 && code[at + 2] === 0xec) {
      return bytes + view.getUint32(at + 3, true)
    } else return bytes
    bytes += 8
  }
}

/** Instructions of a prologue that are looked at. */
const armInstructionsMax = 24

/** `sub sp, sp, #n`, maybe shifted, among the stores of registers. */
function armPrologue(code: Uint8Array): number {
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength)
  let bytes = 0
  for (let i = 0; i < armInstructionsMax && 4 * i + 4 <= code.length; i += 1) {
    const word = view.getUint32(4 * i, true)
    if ((word & 0xff8003ff) >>> 0 !== 0xd10003ff) continue
    const shift = (word & 0x400000) === 0 ? 0 : 12
    bytes += ((word >>> 10) & 0xfff) << shift
  }
  return bytes
}
