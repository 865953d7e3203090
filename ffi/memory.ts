/**
 * A guest's linear memory, by copying: JavaScript never holds a view of native memory, so nothing dangles when the memory
 * grows or goes. Every access is checked against the size at that moment.
 */

import { read } from 'bun:ffi'
import type { Pointer } from 'bun:ffi'

import type { MemoryHandle } from './handles.ts'
import type { Libc } from './libc.ts'
import type { Wasmedge } from './library.ts'

const PAGE_BYTES = 65_536

/** An address or length from the guest that lies outside its memory. */
export class MemoryFault extends Error {
  override readonly name = 'MemoryFault'
}

export class GuestMemory {
  readonly #lib: Wasmedge
  readonly #libc: Libc
  readonly #scratch = new Uint8Array(8)
  readonly #scratchView = new DataView(this.#scratch.buffer)
  #base = 0
  #bytes = 0

  constructor(lib: Wasmedge, libc: Libc) {
    this.#lib = lib
    this.#libc = libc
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Address of the first byte of the memory that is attached; 0 when that has none. */
  get base(): number {
    return this.#base
  }

  /**
   * Whether `memory` has its address space. The engine hands out instances without when a process has used up its own
   * (RELIABILITY finding 6); they differ in this from memories that only start with no page.
   */
  isReserved(memory: MemoryHandle): boolean {
    return this.#lib.WasmEdge_MemoryInstanceGetPointer(memory, 0, 0) !== null
  }

  /** Address of a memory's first byte, whether or not it has a page. Does not move for as long as the instance lives. */
  baseOf(memory: MemoryHandle): number {
    const base = this.#lib.WasmEdge_MemoryInstanceGetPointer(memory, 0, 0)
    if (base === null) throw new MemoryFault('The memory has no address space.')
    return Number(base)
  }

  /** Points at `memory` as it is now. Needed again after anything that may have grown it. */
  attach(memory: MemoryHandle | null): void {
    this.#base = 0
    this.#bytes = 0
    if (memory === null) return
    const bytes = this.#lib.WasmEdge_MemoryInstanceGetPageSize(memory) * PAGE_BYTES
    const base = bytes === 0 ? null : this.#lib.WasmEdge_MemoryInstanceGetPointer(memory, 0, bytes)
    if (base === null) return
    this.#base = Number(base)
    this.#bytes = bytes
  }

  /** Forgets the memory, before its instance is deleted. */
  detach(): void {
    this.attach(null)
  }

  /** Throws MemoryFault where reading or writing would, for those who must know before they do the first of several. */
  require(address: number, length: number): void {
    this.#at(address, length)
  }

  readU32(address: number): number {
    return read.u32(this.#at(address, 4))
  }

  readU16(address: number): number {
    return read.u16(this.#at(address, 2))
  }

  readU8(address: number): number {
    return read.u8(this.#at(address, 1))
  }

  readU64(address: number): bigint {
    return read.u64(this.#at(address, 8))
  }

  /** A copy of `length` bytes. */
  readBytes(address: number, length: number): Uint8Array<ArrayBuffer> {
    const at = this.#at(address, length)
    const bytes = new Uint8Array(length >>> 0)
    this.#libc.copyIn(bytes, at, length >>> 0)
    return bytes
  }

  /** Copies `length` bytes to the start of `target`. */
  readInto(target: Uint8Array, address: number, length: number): void {
    this.#libc.copyIn(target, this.#at(address, length), length)
  }

  writeBytes(address: number, bytes: Uint8Array): void {
    this.writePart(address, bytes, bytes.length)
  }

  /** Writes the first `length` of `bytes`. */
  writePart(address: number, bytes: Uint8Array, length: number): void {
    this.#libc.copyOut(this.#at(address, length), bytes, length)
  }

  /**
   * Makes a range of whole pages of the system zeros, without a memory of its own until it is touched. False when the system
   * does not do it.
   */
  clear(address: number, length: number): boolean {
    return this.#libc.clear(this.#at(address, length), length)
  }

  /**
   * Which pages of the whole memory have been touched since they were cleared, a byte each, as far as the system can tell: good for
   * a guess, and for nothing more.
   */
  touched(pageBytes: number): Uint8Array {
    const pages = new Uint8Array(this.#bytes / pageBytes)
    if (pages.length > 0) this.#libc.resident(this.#base, this.#bytes, pages)
    return pages.map((page) => page & 1)
  }

  writeU8(address: number, value: number): void {
    this.#scratchView.setUint8(0, value)
    this.#libc.copyOut(this.#at(address, 1), this.#scratch, 1)
  }

  writeU16(address: number, value: number): void {
    this.#scratchView.setUint16(0, value, true)
    this.#libc.copyOut(this.#at(address, 2), this.#scratch, 2)
  }

  writeU32(address: number, value: number): void {
    this.#scratchView.setUint32(0, value, true)
    this.#libc.copyOut(this.#at(address, 4), this.#scratch, 4)
  }

  writeU64(address: number, value: bigint): void {
    this.#scratchView.setBigUint64(0, BigInt.asUintN(64, value), true)
    this.#libc.copyOut(this.#at(address, 8), this.#scratch, 8)
  }

  /** The native address of `length` bytes at the guest's `address`; both are unsigned 32-bit whatever sign they carry. */
  #at(address: number, length: number): Pointer {
    const from = address >>> 0
    if (from + (length >>> 0) > this.#bytes) {
      throw new MemoryFault(`Address ${from} + ${length >>> 0} is outside ${this.#bytes} bytes.`)
    }
    return (this.#base + from) as Pointer
  }
}
