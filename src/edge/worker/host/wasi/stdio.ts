/**
 * WASI: the three standard streams. A WAGI guest reads the request body from stdin and writes its response to stdout; an
 * edgefn guest has an empty stdin and both output streams go to its log. There are no other descriptors.
 */

import { END_CALL } from '../../../../../ffi/host-module.ts'
import type { HostCall, HostResult } from '../../../../../ffi/host-module.ts'
import type { CallContext } from '../context.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from '../host.ts'
import { ERRNO } from './errno.ts'

const STDIN = 0
const STDOUT = 1
const STDERR = 2

const vectorsMax = 1024
/**
 * Bytes that one fd_write to a log takes; it reports a short write, and libraries come again with the rest. Nobody can stop a
 * guest inside a host function, and the list may name gigabytes, every byte of them a line.
 */
const logBytesAtOnce = 65_536
const IOVEC_BYTES = 8

/** Pipes have no file type in WASI; `unknown` keeps isatty false. */
const FILETYPE_UNKNOWN = 0
const RIGHT_READ = 1n << 1n
const RIGHT_WRITE = 1n << 6n
const RIGHT_POLL = 1n << 27n
const FDSTAT_BYTES = 24
const FILESTAT_BYTES = 64

/** Whether `fd` is a standard stream that the guest has not closed. */
export function isOpen(fd: number, context: CallContext): boolean {
  return fd <= STDERR && !context.closed.has(fd)
}

/** One piece of a scatter/gather list: an address and a length in the guest's memory. */
interface Vector {
  readonly at: number
  readonly length: number
}

/** The guest's scatter/gather list, or null when it is too long. */
function readVectors(host: Host, at: number, count: number): Vector[] | null {
  if (count > vectorsMax) return null
  return Array.from({ length: count }, (_, index) => ({
    at: host.memory.readU32(at + index * IOVEC_BYTES),
    length: host.memory.readU32(at + index * IOVEC_BYTES + 4),
  }))
}

const fdRead: HostFunctionBody = (call, context, host) => {
  const fd = call.u32(0)
  if (fd !== STDIN || !isOpen(fd, context)) return ERRNO.badf
  const vectors = readVectors(host, call.u32(1), call.u32(2))
  if (vectors === null) return ERRNO.inval
  let total = 0
  for (const { at, length } of vectors) {
    const piece = context.stdin.subarray(context.stdinOffset, context.stdinOffset + length)
    host.memory.writeBytes(at, piece)
    context.stdinOffset += piece.length
    total += piece.length
  }
  host.memory.writeU32(call.u32(3), total)
  return ERRNO.success
}

function fdWrite(call: HostCall, context: CallContext, host: Host): HostResult {
  const fd = call.u32(0)
  if (fd === STDIN || !isOpen(fd, context)) return ERRNO.badf
  const vectors = readVectors(host, call.u32(1), call.u32(2))
  if (vectors === null) return ERRNO.inval
  const isResponse = fd === STDOUT && context.answersOnStdout
  const total = isResponse
    ? writeResponse(context, host, vectors)
    : writeLog(fd, context, host, vectors)
  if (total === null) return END_CALL
  host.memory.writeU32(call.u32(3), total)
  return ERRNO.success
}

/** How many bytes were written, all of them; null when the response is over its limit and the call is to end. */
function writeResponse(
  context: CallContext,
  host: Host,
  vectors: readonly Vector[],
): number | null {
  let total = 0
  for (const { at, length } of vectors) {
    if (!context.write(host.memory.readBytes(at, length))) return null
    total += length
  }
  return total
}

/** How many bytes were written: all, or as many as one call may. */
function writeLog(
  fd: number,
  context: CallContext,
  host: Host,
  vectors: readonly Vector[],
): number {
  let total = 0
  for (const { at, length } of vectors) {
    if (total === logBytesAtOnce) break
    const piece = host.memory.readBytes(at, Math.min(length, logBytesAtOnce - total))
    context.logStream(fd, fd === STDERR ? 'warn' : 'info', piece)
    total += piece.length
  }
  return total
}

const fdClose: HostFunctionBody = (call, context) => {
  const fd = call.u32(0)
  if (!isOpen(fd, context)) return ERRNO.badf
  context.closed.add(fd)
  return ERRNO.success
}

const fdFdstatGet: HostFunctionBody = (call, context, host) => {
  const fd = call.u32(0)
  if (!isOpen(fd, context)) return ERRNO.badf
  const stat = new DataView(new ArrayBuffer(FDSTAT_BYTES))
  stat.setUint8(0, FILETYPE_UNKNOWN)
  stat.setBigUint64(8, RIGHT_POLL | (fd === STDIN ? RIGHT_READ : RIGHT_WRITE), true)
  host.memory.writeBytes(call.u32(1), new Uint8Array(stat.buffer))
  return ERRNO.success
}

const fdFilestatGet: HostFunctionBody = (call, context, host) => {
  if (!isOpen(call.u32(0), context)) return ERRNO.badf
  host.memory.writeBytes(call.u32(1), new Uint8Array(FILESTAT_BYTES))
  return ERRNO.success
}

/** Answers `errno` for an open stream and EBADF for anything else. */
function onStream(errno: number): HostFunctionBody {
  return (call, context) => (isOpen(call.u32(0), context) ? errno : ERRNO.badf)
}

export const STDIO_FUNCTIONS: HostFunctionTable = {
  fd_read: fdRead,
  fd_write: fdWrite,
  fd_close: fdClose,
  fd_fdstat_get: fdFdstatGet,
  fd_filestat_get: fdFilestatGet,
  // Programs set O_NONBLOCK on their streams at start (Go does); these streams never block.
  fd_fdstat_set_flags: onStream(ERRNO.success),
  fd_seek: onStream(ERRNO.spipe),
  fd_tell: onStream(ERRNO.spipe),
  fd_pread: onStream(ERRNO.spipe),
  fd_pwrite: onStream(ERRNO.spipe),
  fd_advise: onStream(ERRNO.spipe),
  fd_allocate: onStream(ERRNO.spipe),
  fd_datasync: onStream(ERRNO.inval),
  fd_sync: onStream(ERRNO.inval),
  fd_readdir: onStream(ERRNO.notdir),
  fd_prestat_get: () => ERRNO.badf,
  fd_prestat_dir_name: () => ERRNO.badf,
}
