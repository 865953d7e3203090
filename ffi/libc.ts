/** The few functions of libc that edgefn calls itself. */

import { dlopen, FFIType } from 'bun:ffi'

const { ptr, u64, i32, i64 } = FFIType

const LIBC_NAMES = ['libc.so.6', 'libc.so', 'libSystem.dylib']

const SYMBOLS = {
  clock_gettime: { args: [i32, 'buffer'], returns: i32 },
  mmap: { args: [u64, u64, i32, i32, i32, i64], returns: i64 },
  mprotect: { args: [u64, u64, i32], returns: i32 },
  madvise: { args: [u64, u64, i32], returns: i32 },
  mincore: { args: [u64, u64, 'buffer'], returns: i32 },
  setrlimit: { args: [i32, 'buffer'], returns: i32 },
  getrlimit: { args: [i32, 'buffer'], returns: i32 },
  getpagesize: { args: [], returns: i32 },
  _exit: { args: [i32], returns: FFIType.void },
} as const

const TRIM_SYMBOLS = {
  malloc_trim: { args: [u64], returns: i32 },
} as const

const PRIORITY_SYMBOLS = {
  setpriority: { args: [i32, u64, i32], returns: i32 },
} as const

const PARENT_SYMBOLS = {
  prctl: { args: [i32, u64], returns: i32 },
} as const

const COPY_SYMBOLS = {
  // One symbol under two signatures: into a buffer of ours, and out of one.
  memcpy: { args: ['buffer', ptr, u64], returns: ptr },
} as const

const COPY_OUT_SYMBOLS = {
  memcpy: { args: [ptr, 'buffer', u64], returns: ptr },
} as const

function openAny<T extends Parameters<typeof dlopen>[1]>(symbols: T) {
  let last: unknown
  for (const name of LIBC_NAMES) {
    try {
      return dlopen(name, symbols).symbols
    } catch (thrown) {
      last = thrown
    }
  }
  throw new Error('libc could not be opened.', { cause: last })
}

/** What not every libc has; null where it is missing. */
function openOptional<T extends Parameters<typeof dlopen>[1]>(symbols: T) {
  try {
    return openAny(symbols)
  } catch {
    return null
  }
}

const CLOCK_REALTIME = 0
/** Of Linux: pages of a private mapping without a file are zeros when they are next touched. Elsewhere it promises less. */
const MADV_DONTNEED = 4
/** Of mmap and mprotect, the same on Linux and macOS but for the flag of memory without a file. */
const PROT_NONE = 0
const PROT_READ = 1
const PROT_WRITE = 2
const MAP_PRIVATE_FIXED = 0x12
const MAP_ANONYMOUS = process.platform === 'darwin' ? 0x1000 : 0x20

const RLIMIT_CPU = 0
const RLIMIT_STACK = 3
const RLIMIT_CORE = 4

/** With 0 for whom, of the calling thread. */
const PRIO_PROCESS = 0

/** `PR_SET_PDEATHSIG`, only on Linux. */
const SET_PARENT_DEATH_SIGNAL = 1
const SIGKILL = 9

const CLOCK_MONOTONIC = process.platform === 'darwin' ? 6 : 1
const CLOCK_THREAD_CPU = process.platform === 'darwin' ? 16 : 3
/** Linux names the clock of a thread by its id, which is that of the process for the main one; 6: of one thread, as the scheduler counts. */
const MAIN_THREAD_CPU = (~process.pid << 3) | 6

export interface Libc {
  /** Milliseconds of the system's monotonic clock: the same in every thread and process, never set back. */
  monotonicMs(): number
  /** Nanoseconds of the same clock. */
  monotonicNs(): bigint
  /** Milliseconds of processor time that the calling thread has had. */
  threadCpuMs(): number
  /** The same of the process's main thread, for any other of its threads to ask. */
  mainThreadCpuMs(): number
  /** Nanoseconds since 1970. */
  realtimeNs(): bigint
  /**
   * Gives freed heap memory of the whole process back to the system, which glibc does not do by itself; other libcs do, and
   * this does nothing there. Takes tens of milliseconds for some hundred megabytes.
   */
  returnMemory(): void
  /** Copies `length` bytes from native memory into `target`. The caller has checked both ends. */
  copyIn(target: Uint8Array, source: number, length: number): void
  /** Copies the first `length` bytes of `source` to native memory. The caller has checked both ends. */
  copyOut(target: number, source: Uint8Array, length: number): void
  /** Puts zeros that can only be read at `address`, in place of what was mapped there. Throws when the system refuses. */
  mapZeros(address: number, length: number): void
  /**
   * Makes private memory zeros and gives it back to the system until it is touched; `address` is where a page begins. False
   * when the system refuses.
   */
  clear(address: number, length: number): boolean
  /**
   * Sets the lowest bit of a byte of `pages` for each page that the system holds in memory; false when it does not tell. What it has
   * swapped out it may not name.
   */
  resident(address: number, length: number, pages: Uint8Array): boolean
  /** Of the system's pages. */
  readonly pageBytes: number
  /** Makes every access to a mapped range fault. */
  forbid(address: number, length: number): void
  /** Ends this process (SIGXCPU) when it has used so many seconds of processor time, and keeps it from dumping core. */
  limitProcess(cpuSeconds: number): void
  /** Bytes that the stack of the main thread may grow to. */
  stackBytes(): number
  /** Ends the process at once, from whichever thread, with nothing written, flushed or waited for. */
  exitNow(code: number): void
  /** Has the calling thread come after others that want a processor, by so many steps (`nice`). Does nothing but on Linux. */
  lowerPriority(steps: number): void
  /** Has the kernel end this process (SIGKILL) as soon as the one that started it is gone. Does nothing where it cannot. */
  endWithParent(): void
}

export function openLibc(): Libc {
  const libc = openAny(SYMBOLS)
  const { clock_gettime, mmap, mprotect, madvise, mincore, setrlimit, getrlimit, _exit } = libc
  const { memcpy: memcpyIn } = openAny(COPY_SYMBOLS)
  const { memcpy: memcpyOut } = openAny(COPY_OUT_SYMBOLS)
  const malloc_trim = openOptional(TRIM_SYMBOLS)?.malloc_trim
  const timespec = new Float64Array(2)
  const words = new Uint32Array(timespec.buffer)
  const longs = new BigUint64Array(timespec.buffer)
  function clockNs(clock: number): bigint {
    clock_gettime(clock, timespec)
    return (longs[0] ?? 0n) * 1_000_000_000n + (longs[1] ?? 0n)
  }
  function clockMs(clock: number): number {
    clock_gettime(clock, timespec)
    const seconds = (words[0] ?? 0) + (words[1] ?? 0) * 2 ** 32
    return seconds * 1000 + (words[2] ?? 0) / 1e6
  }
  return {
    monotonicNs: () => clockNs(CLOCK_MONOTONIC),
    realtimeNs: () => clockNs(CLOCK_REALTIME),
    monotonicMs: () => clockMs(CLOCK_MONOTONIC),
    threadCpuMs: () => clockMs(CLOCK_THREAD_CPU),
    mainThreadCpuMs: () => clockMs(MAIN_THREAD_CPU),
    returnMemory() {
      malloc_trim?.(0)
    },
    copyIn(target, source, length) {
      if (length > 0) memcpyIn(target, source as never, length)
    },
    copyOut(target, source, length) {
      if (length > 0) memcpyOut(target as never, source, length)
    },
    mapZeros(address, length) {
      const flags = MAP_PRIVATE_FIXED | MAP_ANONYMOUS
      const mapped = mmap(address, length, PROT_READ, flags, -1, 0)
      if (Number(mapped) !== address) throw new Error(`mmap of ${length} bytes was refused.`)
    },
    clear(address, length) {
      if (process.platform === 'linux') return madvise(address, length, MADV_DONTNEED) === 0
      const flags = MAP_PRIVATE_FIXED | MAP_ANONYMOUS
      return Number(mmap(address, length, PROT_READ | PROT_WRITE, flags, -1, 0)) === address
    },
    resident(address, length, pages) {
      return mincore(address, length, pages) === 0
    },
    pageBytes: libc.getpagesize(),
    forbid(address, length) {
      mprotect(address, length, PROT_NONE)
    },
    limitProcess(cpuSeconds) {
      // Soft and hard limit, 64 bits each.
      setrlimit(RLIMIT_CPU, BigUint64Array.of(BigInt(cpuSeconds), BigInt(cpuSeconds + 1)))
      setrlimit(RLIMIT_CORE, BigUint64Array.of(0n, 0n))
    },
    stackBytes() {
      const limits = new BigUint64Array(2)
      return getrlimit(RLIMIT_STACK, limits) === 0 ? Number(limits[0] ?? 0n) : 0
    },
    exitNow(code) {
      _exit(code)
    },
    lowerPriority(steps) {
      // Elsewhere it would be the process's.
      if (process.platform !== 'linux') return
      openOptional(PRIORITY_SYMBOLS)?.setpriority(PRIO_PROCESS, 0, steps)
    },
    endWithParent() {
      openOptional(PARENT_SYMBOLS)?.prctl(SET_PARENT_DEATH_SIGNAL, SIGKILL)
    },
  }
}
