/**
 * Results of host functions that wit-bindgen 0.2 has lowered: a record of fixed layout at an address that the guest gives,
 * with lists and strings in memory that the guest owns afterwards and frees, so that only its own allocator may give it.
 * A host function must not call that allocator itself (DESIGN section 4). The guest's import is therefore wrapped by a
 * loop inside the guest (`wasm/rewrite/result-memory.ts`): as long as the host answers PENDING with a size, the loop
 * allocates and calls again.
 */

import { MemoryFault } from '../../../../../ffi/memory.ts'
import { RESULT_MEMORY } from '../../../../wasm/rewrite/result-memory.ts'
import type { Host } from '../host.ts'

/** Alignments of the canonical ABI, in bytes. */
export type Alignment = 1 | 2 | 4 | 8

/** Bytes in which the addresses of other blocks are still to be written. */
export class Block {
  readonly bytes: Uint8Array
  readonly align: Alignment
  readonly references: { readonly at: number; readonly block: Block }[] = []
  readonly #view: DataView

  constructor(bytes: Uint8Array, align: Alignment) {
    this.bytes = bytes
    this.align = align
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  u8(at: number, value: number): this {
    this.#view.setUint8(at, value)
    return this
  }

  u16(at: number, value: number): this {
    this.#view.setUint16(at, value, true)
    return this
  }

  u32(at: number, value: number): this {
    this.#view.setUint32(at, value, true)
    return this
  }

  /** A list or string: the address of its block, and its length in items. */
  list(at: number, block: Block, length: number): this {
    this.references.push({ at, block })
    return this.u32(at + 4, length)
  }

  text(at: number, text: string): this {
    return this.data(at, new TextEncoder().encode(text))
  }

  data(at: number, bytes: Uint8Array): this {
    return this.list(at, new Block(bytes, 1), bytes.length)
  }
}

/** The record itself, `size` bytes of zeros at first. */
export function record(size: number, align: Alignment = 4): Block {
  return new Block(new Uint8Array(size), align)
}

/** A result on its way: the blocks that it consists of, and the addresses that the guest has given so far. */
export class PendingResult {
  readonly #owner: string
  readonly #address: number
  readonly #root: Block
  readonly #blocks: readonly Block[]
  readonly #addresses = new Map<Block, number>()

  /** `owner` is the name of the host function, `address` where its guest wants the record. */
  constructor(owner: string, address: number, root: Block) {
    this.#owner = owner
    this.#address = address
    this.#root = root
    this.#blocks = blocksBelow(root)
  }

  /** Whether a call is the guest's way back to this result. */
  isFor(owner: string, address: number): boolean {
    return owner === this.#owner && address === this.#address
  }

  /** Takes the address that the guest has allocated. Throws MemoryFault when the block does not fit there. */
  take(host: Host): void {
    const block = this.#next
    if (block === undefined) return
    const given = host.memory.readU32(this.#address + RESULT_MEMORY.answer)
    if (given === 0 || given + block.bytes.length > host.memory.bytes) {
      throw new MemoryFault(`The guest allocated ${block.bytes.length} bytes at ${given}.`)
    }
    this.#addresses.set(block, given)
  }

  /** Asks for the next block, or writes all of the result; says whether it is complete. */
  proceed(host: Host): boolean {
    const next = this.#next
    if (next === undefined) {
      for (const block of this.#blocks) this.#write(host, block, this.#addresses.get(block) ?? 0)
      this.#write(host, this.#root, this.#address)
      return true
    }
    host.memory.writeU8(this.#address, RESULT_MEMORY.pending)
    host.memory.writeU32(this.#address + RESULT_MEMORY.size, next.bytes.length)
    host.memory.writeU32(this.#address + RESULT_MEMORY.align, next.align)
    return false
  }

  get #next(): Block | undefined {
    return this.#blocks[this.#addresses.size]
  }

  #write(host: Host, block: Block, address: number): void {
    for (const { at, block: target } of block.references) {
      block.u32(at, this.#addresses.get(target) ?? 0)
    }
    host.memory.writeBytes(address, block.bytes)
  }
}

function blocksBelow(root: Block): Block[] {
  return root.references.flatMap(({ block }) => [block, ...blocksBelow(block)])
}
