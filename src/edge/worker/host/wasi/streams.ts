/** The descriptors of a WASI program: three streams, which it may close, renumber and strip of rights, and no others. */

/** Bits of `rights` in the witx that a stream can have. */
export const RIGHT = {
  read: 1n << 1n,
  set_flags: 1n << 3n,
  write: 1n << 6n,
  filestat_get: 1n << 21n,
  poll: 1n << 27n,
} as const

/** Bits of `fdflags`: append, dsync, nonblock, rsync, sync. They are remembered, and change nothing. */
const flagsAll = 0b1_1111

export type StreamKind = 'stdin' | 'stdout' | 'stderr'

export interface Stream {
  readonly kind: StreamKind
  readonly rights: bigint
  readonly flags: number
}

const COMMON = RIGHT.set_flags | RIGHT.filestat_get | RIGHT.poll
const AT_START: readonly Stream[] = [
  { kind: 'stdin', rights: RIGHT.read | COMMON, flags: 0 },
  { kind: 'stdout', rights: RIGHT.write | COMMON, flags: 0 },
  { kind: 'stderr', rights: RIGHT.write | COMMON, flags: 0 },
]

export class StreamTable {
  /** Copied when the program first changes one, which most never do. */
  #streams: readonly (Stream | null)[] = AT_START

  /** The stream behind a descriptor; null when it is closed or never was one. */
  at(fd: number): Stream | null {
    return this.#streams[fd] ?? null
  }

  close(fd: number): void {
    this.#set(fd, null)
  }

  #set(fd: number, stream: Stream | null): void {
    const changed = [...this.#streams]
    changed[fd] = stream
    this.#streams = changed
  }

  /** Makes `to` mean what `from` means and closes `from`, as dup2 and close do. Both are open. */
  renumber(from: number, to: number): void {
    const stream = this.at(from)
    this.#set(from, null)
    this.#set(to, stream)
  }

  /** False when they are not a part of the rights that the stream has: rights are never gained. */
  setRights(fd: number, rights: bigint): boolean {
    const stream = this.at(fd)
    if (stream === null || (rights & ~stream.rights) !== 0n) return false
    this.#set(fd, { ...stream, rights })
    return true
  }

  /** False for flags that do not exist. */
  setFlags(fd: number, flags: number): boolean {
    const stream = this.at(fd)
    if (stream === null || (flags & ~flagsAll) !== 0) return false
    this.#set(fd, { ...stream, flags })
    return true
  }
}
