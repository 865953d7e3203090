/**
 * Unwind tables (`.eh_frame`, DWARF call frame information): how far each function moves the stack pointer. The same on
 * every processor, which is why frames are read from here and not from the code.
 */

import { Reader } from '../../wasm/reader.ts'
import type { NativeSection } from './native-code.ts'

export interface UnwindEntry {
  /** Address of the function. */
  readonly address: number
  /** Most bytes from the stack pointer to the caller's, as far as the table tells. */
  readonly frameBytes: number
  /**
   * Address from which on the frame is found by a frame pointer, so that the table no longer tells where the stack pointer
   * is; null where it always does.
   */
  readonly framePointerFrom: number | null
}

/** Registers by their DWARF numbers that may be the frame pointer: rbp, x29. */
const FRAME_POINTERS = [6, 29]
/** Encoding of addresses: relative to their own place, signed, 32 bits. */
const PC_RELATIVE_32 = 0x1b

interface Common {
  readonly codeFactor: number
  readonly register: number
  readonly offset: number
}

/** Reads all entries. Throws on anything that LLVM does not write. */
export function readUnwindTable(section: NativeSection): UnwindEntry[] {
  const { bytes, address } = section
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const commons = new Map<number, Common>()
  const entries: UnwindEntry[] = []
  let at = 0
  while (at + 4 <= bytes.length) {
    const length = view.getUint32(at, true)
    if (length === 0) break
    const body = at + 4
    const id = view.getUint32(body, true)
    const reader = new Reader(bytes, body + 4, body + length, 'unwind table')
    if (id === 0) commons.set(at, readCommon(reader))
    else {
      const common = commons.get(body - id)
      if (common === undefined) throw reader.malformed('An entry names no common one')
      const place = address + reader.at
      const start = place + view.getInt32(reader.at, true)
      reader.skip(8)
      reader.skip(reader.u32())
      entries.push({ address: start, ...follow(reader, common, start) })
    }
    at = body + length
  }
  return entries
}

/** A common entry: version, augmentation, factors, then how every function begins. */
function readCommon(reader: Reader): Common {
  reader.u8()
  let augmentation = ''
  for (let byte = reader.u8(); byte !== 0; byte = reader.u8()) {
    augmentation += String.fromCharCode(byte)
  }
  const codeFactor = reader.u32()
  reader.skipS64()
  reader.u32()
  if (augmentation !== 'zR') throw reader.malformed('The augmentation is not zR')
  reader.u32()
  if (reader.u8() !== PC_RELATIVE_32) throw reader.malformed('Addresses are encoded otherwise')
  const rules = new FrameRules(0, 0)
  while (reader.left > 0) rules.step(reader, codeFactor, 0)
  return { codeFactor, register: rules.register, offset: rules.offset }
}

function follow(reader: Reader, common: Common, start: number): Omit<UnwindEntry, 'address'> {
  const rules = new FrameRules(common.register, common.offset)
  let at = start
  while (reader.left > 0) at = rules.step(reader, common.codeFactor, at)
  return { frameBytes: rules.offsetMax, framePointerFrom: rules.framePointerFrom }
}

/** The rule for the caller's stack pointer (CFA) as the instructions of an entry change it. */
class FrameRules {
  register: number
  offset: number
  offsetMax: number
  framePointerFrom: number | null = null
  readonly #remembered: { register: number; offset: number }[] = []

  constructor(register: number, offset: number) {
    this.register = register
    this.offset = offset
    this.offsetMax = offset
  }

  /** Takes one instruction, which holds from address `at` on; returns the address from which the next one does. */
  step(reader: Reader, codeFactor: number, at: number): number {
    const byte = reader.u8()
    const low = byte & 0x3f
    switch (byte >> 6) {
      case 1:
        return at + low * codeFactor
      case 2:
        reader.u32()
        return at
      case 3:
        return at
    }
    const advance = this.#advance(reader, low)
    if (advance !== null) return at + advance * codeFactor
    this.#rule(reader, low)
    this.offsetMax = Math.max(this.offsetMax, this.offset)
    if (FRAME_POINTERS.includes(this.register)) this.framePointerFrom ??= at
    return at
  }

  #advance(reader: Reader, operation: number): number | null {
    if (operation === 0x02) return reader.u8()
    if (operation === 0x03) return reader.u8() | (reader.u8() << 8)
    if (operation !== 0x04) return null
    const low = reader.u8() | (reader.u8() << 8)
    return low + (reader.u8() | (reader.u8() << 8)) * 0x10000
  }

  /** DW_CFA_* that concern the caller's stack pointer, and those that are passed over. */
  #rule(reader: Reader, operation: number): void {
    switch (operation) {
      case 0x00: // nop
      case 0x2d: // negate_ra_state
        return
      case 0x0a: // remember_state
        this.#remembered.push({ register: this.register, offset: this.offset })
        return
      case 0x0b: // restore_state
        Object.assign(this, this.#remembered.pop())
        return
      case 0x0c: // def_cfa
        this.register = reader.u32()
        this.offset = reader.u32()
        return
      case 0x0d: // def_cfa_register
        this.register = reader.u32()
        return
      case 0x0e: // def_cfa_offset
        this.offset = reader.u32()
        return
      case 0x06: // restore_extended
      case 0x07: // undefined
      case 0x08: // same_value
      case 0x2e: // GNU_args_size
        reader.u32()
        return
      case 0x05: // offset_extended
      case 0x09: // register
        reader.u32()
        reader.u32()
        return
      default:
        throw reader.malformed(`Frame instruction ${operation} is unknown`)
    }
  }
}
