/**
 * WASI: the three standard streams. They behave like pipes: a command reads the request body from stdin and writes its
 * response to stdout; for other guests stdin is empty and both output streams go to the log.
 */

import { END_CALL } from '../../../../../ffi/host-module.ts'
import type { HostCall, HostResult } from '../../../../../ffi/host-module.ts'
import type { CallContext } from '../context.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from '../host.ts'
import { ERRNO } from './errno.ts'
import { RIGHT } from './streams.ts'
import type { Stream } from './streams.ts'

/** Pieces that one call takes; of a longer list it does the beginning, and libraries come again with the rest. */
const vectorsMax = 1024
/**
 * Bytes that one fd_write to a log takes; it reports a short write, and libraries come again with the rest. Nobody can stop a
 * guest inside a host function, and the list may name gigabytes, every byte of them a line.
 */
const logBytesAtOnce = 65_536
const IOVEC_BYTES = 8

/** Pipes have no file type in WASI; `unknown` keeps isatty false. */
const FILETYPE_UNKNOWN = 0
const FDSTAT_BYTES = 24
const FILESTAT_BYTES = 64

/** One piece of a scatter/gather list: an address and a length in the guest's memory. */
interface Vector {
  readonly at: number
  readonly length: number
}

/**
 * The guest's scatter/gather list, without its empty pieces. Throws MemoryFault for a piece that is not in the memory, and
 * when `result` is not, so that a call that fails has not taken or given anything.
 */
function readVectors(host: Host, at: number, count: number, result: number): Vector[] {
  const { memory } = host
  const vectors: Vector[] = []
  for (let index = 0; index < Math.min(count, vectorsMax); index += 1) {
    const vector = {
      at: memory.readU32(at + index * IOVEC_BYTES),
      length: memory.readU32(at + index * IOVEC_BYTES + 4),
    }
    if (vector.length === 0) continue
    memory.require(vector.at, vector.length)
    vectors.push(vector)
  }
  memory.require(result, 4)
  return vectors
}

/** Where statistics are put together; a thread makes one host call at a time. */
const fdstat = new DataView(new ArrayBuffer(FDSTAT_BYTES))
const fdstatBytes = new Uint8Array(fdstat.buffer)

const fdRead: HostFunctionBody = (call, context, host) => {
  const stream = context.streams.at(call.u32(0))
  if (stream === null || (stream.rights & RIGHT.read) === 0n) return ERRNO.badf
  const vectors = readVectors(host, call.u32(1), call.u32(2), call.u32(3))
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
  const stream = context.streams.at(call.u32(0))
  if (stream === null || (stream.rights & RIGHT.write) === 0n) return ERRNO.badf
  const vectors = readVectors(host, call.u32(1), call.u32(2), call.u32(3))
  const isResponse = stream.kind === 'stdout' && context.answersOnStdout
  const total = isResponse
    ? writeResponse(context, host, vectors)
    : writeLog(stream, context, host, vectors)
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
  stream: Stream,
  context: CallContext,
  host: Host,
  vectors: readonly Vector[],
): number {
  const isError = stream.kind === 'stderr'
  let total = 0
  for (const { at, length } of vectors) {
    if (total === logBytesAtOnce) break
    const piece = host.memory.readBytes(at, Math.min(length, logBytesAtOnce - total))
    context.logStream(isError ? 2 : 1, isError ? 'warn' : 'info', piece)
    total += piece.length
  }
  return total
}

const fdClose: HostFunctionBody = (call, context) => {
  const fd = call.u32(0)
  if (context.streams.at(fd) === null) return ERRNO.badf
  context.streams.close(fd)
  return ERRNO.success
}

const fdRenumber: HostFunctionBody = (call, context) => {
  const from = call.u32(0)
  const to = call.u32(1)
  const { streams } = context
  if (streams.at(from) === null || streams.at(to) === null) return ERRNO.badf
  if (from !== to) streams.renumber(from, to)
  return ERRNO.success
}

const fdFdstatGet: HostFunctionBody = (call, context, host) => {
  const stream = context.streams.at(call.u32(0))
  if (stream === null) return ERRNO.badf
  fdstat.setUint8(0, FILETYPE_UNKNOWN)
  fdstat.setUint16(2, stream.flags, true)
  fdstat.setBigUint64(8, stream.rights, true)
  host.memory.writeBytes(call.u32(1), fdstatBytes)
  return ERRNO.success
}

/** Programs set O_NONBLOCK on their streams at start (Go does); these streams never block. */
const fdFdstatSetFlags: HostFunctionBody = (call, context) => {
  const fd = call.u32(0)
  const stream = context.streams.at(fd)
  if (stream === null) return ERRNO.badf
  if ((stream.rights & RIGHT.set_flags) === 0n) return ERRNO.notcapable
  return context.streams.setFlags(fd, call.u32(1)) ? ERRNO.success : ERRNO.inval
}

/** Rights can be given up and not gained; there is nothing here that could inherit any. */
const fdFdstatSetRights: HostFunctionBody = (call, context) => {
  const fd = call.u32(0)
  if (context.streams.at(fd) === null) return ERRNO.badf
  if (call.i64(2) !== 0n) return ERRNO.notcapable
  const rights = BigInt.asUintN(64, call.i64(1))
  return context.streams.setRights(fd, rights) ? ERRNO.success : ERRNO.notcapable
}

const fdFilestatGet: HostFunctionBody = (call, context, host) => {
  if (context.streams.at(call.u32(0)) === null) return ERRNO.badf
  host.memory.writeBytes(call.u32(1), new Uint8Array(FILESTAT_BYTES))
  return ERRNO.success
}

/** Answers `errno` for an open stream and EBADF for anything else. */
function onStream(errno: number): HostFunctionBody {
  return (call, context) => (context.streams.at(call.u32(0)) === null ? ERRNO.badf : errno)
}

export const STDIO_FUNCTIONS: HostFunctionTable = {
  fd_read: fdRead,
  fd_write: fdWrite,
  fd_close: fdClose,
  fd_renumber: fdRenumber,
  fd_fdstat_get: fdFdstatGet,
  fd_fdstat_set_flags: fdFdstatSetFlags,
  fd_fdstat_set_rights: fdFdstatSetRights,
  fd_filestat_get: fdFilestatGet,
  fd_filestat_set_size: onStream(ERRNO.inval),
  fd_filestat_set_times: onStream(ERRNO.notcapable),
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
  // No descriptor is a socket, and nothing makes one.
  sock_accept: onStream(ERRNO.notsock),
  sock_recv: onStream(ERRNO.notsock),
  sock_send: onStream(ERRNO.notsock),
  sock_shutdown: onStream(ERRNO.notsock),
}
