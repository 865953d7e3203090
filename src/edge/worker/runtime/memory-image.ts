/**
 * What a linear memory holds at first, and putting it back (DESIGN section 5). Ranges that hold something then, or that guests
 * have been seen to touch, are copied; all others are given back to the system, which hands out zeros again when they are
 * touched. Together they are the whole memory, whatever a guest has done to it.
 */

import type { GuestMemory } from '../../../../ffi/memory.ts'

/** What is told apart: where nothing was written there is nothing to restore. A page of most systems. */
const pageBytes = 4096
const blockBytes = 64 * 1024
/** Memories over this size are not restored: looking through them once takes a millisecond. */
const memoryBytesMax = 4 * 2 ** 20
/** Copies over this size are not kept; a new instance is as fast then. */
const imageBytesMax = 1024 * 1024
/** Pages that are copied because guests touch them, besides those that hold something at first. */
const learnedPagesMax = 64
/** So many first restorings look what the guest has touched. */
const lessonsMax = 2
/** To give a range back takes as long as to copy some pages of zeros. */
const gapPagesMin = 4

const NO_BYTES = new Uint8Array(0)
const ZEROS = new Uint8Array(pageBytes)

/** Consecutive pages that are restored alike; without `bytes` they are zeros. */
interface Piece {
  readonly at: number
  readonly length: number
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** What is asked of a guest's memory here. */
type Memory = Pick<
  GuestMemory,
  'bytes' | 'readBytes' | 'readInto' | 'writeBytes' | 'clear' | 'touched'
>

export class MemoryImage {
  /** Of the memory; one of another size cannot be restored from this. */
  readonly memoryBytes: number
  #copied: readonly Piece[] = []
  #zeros: readonly Piece[] = []
  #bytes = 0
  #lessons = 0

  private constructor(memoryBytes: number, copied: readonly boolean[], content: Content) {
    this.memoryBytes = memoryBytes
    this.#divide(copied, content)
  }

  #divide(copied: readonly boolean[], content: Content): void {
    const pieces = piecesOf(copied, content)
    this.#copied = pieces.filter(({ bytes }) => bytes.length > 0)
    this.#zeros = pieces.filter(({ bytes }) => bytes.length === 0)
    this.#bytes = this.#copied.reduce((sum, { length }) => sum + length, 0)
  }

  /** The image of the memory that is attached; null for one that is too large. */
  static of(memory: Memory): MemoryImage | null {
    if (memory.bytes > memoryBytesMax) return null
    const image = new MemoryImage(memory.bytes, written(memory), (at, length) =>
      memory.readBytes(at, length),
    )
    if (image.bytes > imageBytesMax) return null
    // Looking at pages has touched them.
    const isCleared = image.#clear(memory)
    // Also of one that is not kept: where the system's pages are larger than ours it may have taken more than it was told to.
    image.#write(memory)
    return isCleared ? image : null
  }

  #write(memory: Memory): void {
    for (const { at, bytes } of this.#copied) memory.writeBytes(at, bytes)
  }

  #clear(memory: Memory): boolean {
    for (const { at, length } of this.#zeros) if (!memory.clear(at, length)) return false
    return true
  }

  /** Bytes that the image itself takes. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Makes the attached memory what it was at first. False when it cannot, and the memory is to go. `memory` is one of the size
   * that the image is of.
   */
  restore(memory: Memory): boolean {
    if (memory.bytes !== this.memoryBytes) return false
    if (this.#lessons < lessonsMax) this.#learn(memory)
    // First, because the system may take a little more than it is told to.
    if (!this.#clear(memory)) return false
    this.#write(memory)
    return true
  }

  /** From now on, pages that a guest has touched are copied: the system takes longer to find new ones. */
  #learn(memory: Memory): void {
    this.#lessons += 1
    const copied = Array<boolean>(this.memoryBytes / pageBytes).fill(false)
    for (const { at, length } of this.#copied) {
      copied.fill(true, at / pageBytes, (at + length) / pageBytes)
    }
    let learned = 0
    for (const [page, isTouched] of memory.touched(pageBytes).entries()) {
      if (isTouched === 0 || copied[page] === true) continue
      learned += 1
      if (learned > learnedPagesMax) return
      copied[page] = true
    }
    if (learned === 0) return
    const before = this.#copied
    this.#divide(copied, (at, length) => contentIn(before, at, length))
  }
}

/** The bytes that are to be restored at an address. */
type Content = (at: number, length: number) => Uint8Array<ArrayBuffer>

/** Which pages of a memory are not all zeros. */
function written(memory: Memory): boolean[] {
  const pages: boolean[] = []
  const block = new Uint8Array(blockBytes)
  for (let at = 0; at < memory.bytes; at += blockBytes) {
    memory.readInto(block, at, blockBytes)
    for (let from = 0; from < blockBytes; from += pageBytes) {
      pages.push(Buffer.compare(block.subarray(from, from + pageBytes), ZEROS) !== 0)
    }
  }
  return pages
}

/** The whole memory in pieces; short gaps between copied pages are copied too. */
function piecesOf(copied: readonly boolean[], content: Content): Piece[] {
  const runs: { isCopied: boolean; from: number; to: number }[] = []
  for (const [page, isCopied] of copied.entries()) {
    const last = runs.at(-1)
    if (last?.isCopied === isCopied) last.to = page + 1
    else runs.push({ isCopied, from: page, to: page + 1 })
  }
  const merged: typeof runs = []
  for (const [index, run] of runs.entries()) {
    const isGap = !run.isCopied && index > 0 && index < runs.length - 1
    const isCopied = run.isCopied || (isGap && run.to - run.from < gapPagesMin)
    const last = merged.at(-1)
    if (last?.isCopied === isCopied) last.to = run.to
    else merged.push({ ...run, isCopied })
  }
  return merged.map(({ isCopied, from, to }) => {
    const at = from * pageBytes
    const length = (to - from) * pageBytes
    return { at, length, bytes: isCopied ? content(at, length) : NO_BYTES }
  })
}

/** What `pieces` hold of a range, and zeros between them. */
function contentIn(pieces: readonly Piece[], at: number, length: number): Uint8Array<ArrayBuffer> {
  const content = new Uint8Array(length)
  for (const piece of pieces) {
    // A piece is never cut: pages that were copied are copied still.
    if (piece.at >= at && piece.at < at + length) content.set(piece.bytes, piece.at - at)
  }
  return content
}
