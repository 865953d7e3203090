/**
 * The memory that an Extism plug-in shares with its host, of one call: blocks of bytes with an address each, reached by
 * host functions only. It lies beside the plug-in's own memory and is bounded like it.
 */

import { MemoryFault } from '../../../../../ffi/memory.ts'

/** Address 0 means none, so nothing begins there. */
const firstAddress = 64
/** Blocks are a multiple of this long, so that what is freed is found again by its size. */
const blockBytesStep = 64
/** Blocks that may be in use or wait for use; each costs the host more than its bytes. */
const blocksMax = 65_536
const capacityBytesMin = 4096

interface Block {
  readonly length: number
  readonly capacity: number
}

export class Kernel {
  readonly #bytesMax: number
  readonly #blocks = new Map<number, Block>()
  /** Freed addresses by the capacity of their block. */
  readonly #free = new Map<number, number[]>()
  readonly #input: Uint8Array
  readonly #inputView: DataView
  #inputAddress: number | null = null
  #bytes: Uint8Array<ArrayBuffer>
  #view: DataView<ArrayBuffer>
  #top = firstAddress

  /** `bytesMax` is what blocks may take besides the input, in bytes. */
  constructor(input: Uint8Array, bytesMax: number) {
    this.#bytesMax = firstAddress + rounded(input.length) + bytesMax
    this.#bytes = new Uint8Array(Math.min(capacityBytesMin, this.#bytesMax))
    this.#view = new DataView(this.#bytes.buffer)
    this.#input = input
    this.#inputView = new DataView(input.buffer, input.byteOffset, input.length)
  }

  get inputLength(): number {
    return this.#input.length
  }

  /** Address of a block with the input, made when it is first asked for; 0 for an empty one. */
  get inputAddress(): number {
    this.#inputAddress ??= this.store(this.#input)
    return this.#inputAddress
  }

  /** A block of `length` zero bytes; 0 when there is no memory for it, or nothing was asked for. */
  alloc(length: number): number {
    if (length === 0 || length > this.#bytesMax) return 0
    const capacity = rounded(length)
    const address = this.#free.get(capacity)?.pop() ?? this.#extend(capacity)
    if (address === 0) return 0
    this.#bytes.fill(0, address, address + capacity)
    this.#blocks.set(address, { length, capacity })
    return address
  }

  free(address: number): void {
    const block = this.#blocks.get(address)
    if (block === undefined) return
    this.#blocks.delete(address)
    const free = this.#free.get(block.capacity)
    if (free === undefined) this.#free.set(block.capacity, [address])
    else free.push(address)
  }

  /** Length of the block that begins at `address`; 0 when none does. */
  length(address: number): number {
    return this.#blocks.get(address)?.length ?? 0
  }

  /** A block with these bytes; 0 when there is no memory for it. */
  store(bytes: Uint8Array): number {
    const address = this.alloc(bytes.length)
    if (address !== 0) this.#bytes.set(bytes, address)
    return address
  }

  /** A copy of the block that begins at `address`. Throws MemoryFault when none does. */
  block(address: number): Uint8Array<ArrayBuffer> {
    const block = this.#blocks.get(address)
    if (block === undefined) throw new MemoryFault(`No block begins at ${address}.`)
    return this.#bytes.slice(address, address + block.length)
  }

  /** A copy of `length` bytes. Throws MemoryFault when they are not all in use. */
  read(address: number, length: number): Uint8Array<ArrayBuffer> {
    this.checkRange(address, length)
    return this.#bytes.slice(address, address + length)
  }

  loadU8(address: number): number {
    this.checkRange(address, 1)
    return this.#view.getUint8(address)
  }

  loadU64(address: number): bigint {
    this.checkRange(address, 8)
    return this.#view.getBigUint64(address, true)
  }

  storeU8(address: number, value: number): void {
    this.checkRange(address, 1)
    this.#view.setUint8(address, value)
  }

  storeU64(address: number, value: bigint): void {
    this.checkRange(address, 8)
    this.#view.setBigUint64(address, value, true)
  }

  /** A byte of the input; 0 behind its end. */
  inputU8(offset: number): number {
    return this.#input[offset] ?? 0
  }

  /** Eight bytes of the input, zeros behind its end. */
  inputU64(offset: number): bigint {
    if (offset + 8 <= this.#input.length) return this.#inputView.getBigUint64(offset, true)
    const last = new Uint8Array(8)
    if (offset < this.#input.length) last.set(this.#input.subarray(offset))
    return new DataView(last.buffer).getBigUint64(0, true)
  }

  /** A new address behind all others; 0 when there is no room. */
  #extend(capacity: number): number {
    const address = this.#top
    const end = address + capacity
    if (end > this.#bytesMax || this.#blocks.size >= blocksMax) return 0
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(Math.max(end, this.#bytes.length * 2), this.#bytesMax))
      grown.set(this.#bytes)
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    this.#top = end
    return address
  }

  /** Throws MemoryFault when not all of the range has been in use. */
  checkRange(address: number, length: number): void {
    if (address >= firstAddress && address + length <= this.#top) return
    throw new MemoryFault(`Address ${address} + ${length} is outside ${this.#top} bytes.`)
  }
}

function rounded(length: number): number {
  return Math.ceil(length / blockBytesStep) * blockBytesStep
}
