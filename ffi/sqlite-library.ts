/**
 * The C interface of the SQLite that Bun has inside. `bun:sqlite` can neither interrupt a statement nor judge one before it runs,
 * and Bun exports none of SQLite's functions. But SQLite hands the table of them (`sqlite3_api_routines`, whose order never changes)
 * to every extension it loads: so one is made here, of a few instructions that note the address of that table.
 */

import { Database } from 'bun:sqlite'
import { CFunction, dlopen, FFIType, linkSymbols, ptr, read } from 'bun:ffi'
import type { Pointer } from 'bun:ffi'
import { closeSync, writeSync } from 'node:fs'

const { i32, u32, i64, i64_fast, f64 } = FFIType
const address = FFIType.ptr

const SYMBOLS = {
  bind_blob: { args: [address, i32, 'buffer', i32, i64], returns: i32 },
  bind_double: { args: [address, i32, f64], returns: i32 },
  bind_int64: { args: [address, i32, i64], returns: i32 },
  bind_null: { args: [address, i32], returns: i32 },
  bind_parameter_count: { args: [address], returns: i32 },
  bind_text: { args: [address, i32, 'buffer', i32, i64], returns: i32 },
  column_blob: { args: [address, i32], returns: address },
  column_bytes: { args: [address, i32], returns: i32 },
  column_count: { args: [address], returns: i32 },
  column_double: { args: [address, i32], returns: f64 },
  column_int64: { args: [address, i32], returns: i64_fast },
  column_name: { args: [address, i32], returns: FFIType.cstring },
  column_text: { args: [address, i32], returns: address },
  column_type: { args: [address, i32], returns: i32 },
  errmsg: { args: [address], returns: FFIType.cstring },
  finalize: { args: [address], returns: i32 },
  get_autocommit: { args: [address], returns: i32 },
  last_insert_rowid: { args: [address], returns: i64_fast },
  libversion_number: { args: [], returns: i32 },
  progress_handler: { args: [address, i32, address, address], returns: FFIType.void },
  reset: { args: [address], returns: i32 },
  set_authorizer: { args: [address, address, address], returns: i32 },
  step: { args: [address], returns: i32 },
  memory_used: { args: [], returns: i64_fast },
  clear_bindings: { args: [address], returns: i32 },
  file_control: { args: [address, address, i32, 'buffer'], returns: i32 },
  open_v2: { args: ['buffer', 'buffer', i32, address], returns: i32 },
  limit: { args: [address, i32, i32], returns: i32 },
  db_config: { args: [address, i32, i32, address], returns: i32 },
  extended_errcode: { args: [address], returns: i32 },
  close_v2: { args: [address], returns: i32 },
  stmt_readonly: { args: [address], returns: i32 },
  prepare_v3: { args: [address, address, i32, u32, 'buffer', 'buffer'], returns: i32 },
  changes64: { args: [address], returns: i64_fast },
} as const

/** Where each stands in `sqlite3_api_routines`. */
const POSITIONS: Readonly<Record<keyof typeof SYMBOLS, number>> = {
  bind_blob: 2,
  bind_double: 3,
  bind_int64: 5,
  bind_null: 6,
  bind_parameter_count: 7,
  bind_text: 10,
  column_blob: 19,
  column_bytes: 20,
  column_count: 22,
  column_double: 27,
  column_int64: 29,
  column_name: 30,
  column_text: 36,
  column_type: 38,
  errmsg: 53,
  finalize: 57,
  get_autocommit: 60,
  last_insert_rowid: 65,
  libversion_number: 67,
  progress_handler: 75,
  reset: 77,
  set_authorizer: 91,
  step: 94,
  memory_used: 129,
  clear_bindings: 118,
  file_control: 127,
  open_v2: 135,
  limit: 151,
  db_config: 163,
  extended_errcode: 166,
  close_v2: 179,
  stmt_readonly: 185,
  prepare_v3: 217,
  changes64: 253,
}

const POINTER_BYTES = 8
/** The functions used are all of 3.37 or older. */
const VERSION_MIN = 3_037_000
const ENTRY = 'edgefn_note'

export type Sqlite = ReturnType<typeof linkSymbols<typeof SYMBOLS>>['symbols']

let opened: Sqlite | null = null

/** SQLite's functions, for the calling thread. Throws where Bun's SQLite cannot be reached in this way. */
export function openSqlite(): Sqlite {
  opened ??= link(findRoutines())
  return opened
}

function link(table: Pointer): Sqlite {
  const symbols = Object.fromEntries(
    Object.entries(SYMBOLS).map(([name, symbol]) => [
      name,
      { ...symbol, ptr: routine(table, name as keyof typeof SYMBOLS) },
    ]),
  )
  return linkSymbols(symbols as unknown as typeof SYMBOLS).symbols
}

function routine(table: Pointer, name: keyof typeof SYMBOLS): Pointer {
  return read.ptr(table, POSITIONS[name] * POINTER_BYTES) as Pointer
}

/** Loads the extension into a database that is thrown away; the table it notes belongs to the program. */
function findRoutines(): Pointer {
  const noted = new BigUint64Array(1)
  const file = extensionFile(BigInt(ptr(noted)))
  const fd = memoryFile()
  const database = new Database(':memory:')
  try {
    writeSync(fd, file)
    database.loadExtension(`/proc/self/fd/${fd}`, ENTRY)
    const table = Number(noted[0]) as Pointer
    const version = Number(
      CFunction({ ...SYMBOLS.libversion_number, ptr: routine(table, 'libversion_number') })(),
    )
    if (version < VERSION_MIN) throw new Error(`SQLite ${version} is too old.`)
    return table
  } finally {
    database.close()
    closeSync(fd)
  }
}

const CLOSE_ON_EXEC = 1

function memoryFile(): number {
  const name = new TextEncoder().encode('edgefn-sqlite\0')
  for (const library of [
    'libc.so.6',
    'libc.so',
    'libc.musl-x86_64.so.1',
    'libc.musl-aarch64.so.1',
  ]) {
    try {
      const { memfd_create } = dlopen(library, {
        memfd_create: { args: ['buffer', u32], returns: i32 },
      }).symbols
      const fd = memfd_create(name, CLOSE_ON_EXEC)
      if (fd >= 0) return fd
    } catch {
      // The next name may be there.
    }
  }
  throw new Error('No file could be made in memory.')
}

/** `int edgefn_note(sqlite3 *, char **, const sqlite3_api_routines *table) { *noted = table; return SQLITE_OK; }` */
function code(noted: bigint): { readonly machine: number; readonly bytes: Uint8Array } {
  const bytes = new Uint8Array(24)
  const view = new DataView(bytes.buffer)
  if (process.arch === 'x64') {
    // mov rax, noted; mov [rax], rdx; xor eax, eax; ret
    bytes.set([0x48, 0xb8], 0)
    view.setBigUint64(2, noted, true)
    bytes.set([0x48, 0x89, 0x10, 0x31, 0xc0, 0xc3], 10)
    return { machine: 62, bytes }
  }
  if (process.arch === 'arm64') {
    // ldr x3, noted; str x2, [x3]; mov w0, 0; ret; noted
    const instructions = [0x58000083, 0xf9000062, 0x52800000, 0xd65f03c0]
    instructions.forEach((word, index) => view.setUint32(index * 4, word, true))
    view.setBigUint64(16, noted, true)
    return { machine: 183, bytes }
  }
  throw new Error(`SQLite's functions cannot be found on ${process.arch}.`)
}

/** Of a segment in the file and in memory: the largest page of the machines there are. */
const PAGE_BYTES = 0x10000
const HEADER_BYTES = 64
const SEGMENT_BYTES = 56
const SYMBOL_BYTES = 24
const TAG_BYTES = 16

/** A shared library with one symbol, as a loader needs it and no more. */
function extensionFile(noted: bigint): Uint8Array<ArrayBuffer> {
  const { machine, bytes } = code(noted)
  const names = new TextEncoder().encode(`\0${ENTRY}\0`)
  const text = HEADER_BYTES + 4 * SEGMENT_BYTES
  const symbols = align(text + bytes.length)
  const strings = symbols + 2 * SYMBOL_BYTES
  const hashes = align(strings + names.length)
  const readable = hashes + 5 * 4
  const dynamic = PAGE_BYTES
  const tags = [
    ...[4, hashes, 5, strings, 6, symbols],
    ...[10, names.length, 11, SYMBOL_BYTES, 0, 0],
  ]
  const writable = (tags.length / 2) * TAG_BYTES
  const file = new Uint8Array(dynamic + writable)
  const view = new DataView(file.buffer)
  const long = (at: number, ...values: number[]) =>
    values.forEach((value, index) => view.setBigUint64(at + index * 8, BigInt(value), true))
  const word = (at: number, ...values: number[]) =>
    values.forEach((value, index) => view.setUint32(at + index * 4, value, true))
  const half = (at: number, ...values: number[]) =>
    values.forEach((value, index) => view.setUint16(at + index * 2, value, true))
  let segment = HEADER_BYTES
  const addSegment = (type: number, flags: number, at: number, size: number, border: number) => {
    word(segment, type, flags)
    long(segment + 8, at, at, at, size, size, border)
    segment += SEGMENT_BYTES
  }
  // ELF of 64 bits, little-endian, a shared library.
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1], 0)
  half(16, 3, machine)
  word(20, 1)
  long(32, HEADER_BYTES)
  half(52, HEADER_BYTES, SEGMENT_BYTES, 4)
  // What is read and run; what loaders write into; where the tags are; that no stack is run.
  addSegment(1, 5, 0, readable, PAGE_BYTES)
  addSegment(1, 6, dynamic, writable, PAGE_BYTES)
  addSegment(2, 6, dynamic, writable, 8)
  addSegment(0x6474e551, 6, 0, 0, 16)
  file.set(bytes, text)
  // Symbol 1: a global function, named at 1, in a section that is not described.
  word(symbols + SYMBOL_BYTES, 1)
  file.set([0x12, 0, 1, 0], symbols + SYMBOL_BYTES + 4)
  long(symbols + SYMBOL_BYTES + 8, text, bytes.length)
  file.set(names, strings)
  // One bucket of one chain.
  word(hashes, 1, 2, 1, 0, 0)
  long(dynamic, ...tags)
  return file
}

function align(offset: number): number {
  return Math.ceil(offset / 8) * 8
}
