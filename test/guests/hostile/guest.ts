/** What a hostile guest is, and the frames of text that most of them are written in. */

import type { ErrorCode } from '../../../src/errors.ts'

/** What must come of a guest. Whatever it is, neighbours, workers and the node's memory are unharmed. */
export type Expectation =
  /** Ingest refuses the module with 400 and words that match. */
  | { readonly outcome: 'refused'; readonly words: RegExp }
  /** It can be stored, but no node takes it into service: the deployment fails with one of these codes, and so do calls. */
  | { readonly outcome: 'unfit'; readonly codes: readonly ErrorCode[] }
  /** Every call is answered with one of these codes and its status. */
  | { readonly outcome: 'fails'; readonly codes: readonly ErrorCode[] }
  /** Every call is answered, with 200 or with an error that is the guest's fault. */
  | { readonly outcome: 'survives' }
  /** It was harmless after all: every call is answered with this status. */
  | { readonly outcome: 'answers'; readonly status: number; readonly text?: string }

export interface HostileGuest {
  /** A sentence without its end: the name of its test. */
  readonly title: string
  /** WAT, or the bytes of a module. */
  readonly source: string | (() => Uint8Array<ArrayBuffer>)
  readonly expects: Expectation
  readonly memory_pages: number
  readonly max_execution_ms: number
  /** Extra bytes of request body for each call after the one before. */
  readonly bodyBytesStep: number
}

/** Milliseconds for guests that are to be stopped, and for those that end by themselves, however busy the machine is. */
const stoppedMs = 200
const endingMs = 2_000

/** A guest with the limits that are usual here. */
export function guest(
  title: string,
  source: HostileGuest['source'],
  expects: Expectation,
  changes: Partial<HostileGuest> = {},
): HostileGuest {
  return {
    title,
    source,
    expects,
    memory_pages: 16,
    max_execution_ms: isStopped(expects) ? stoppedMs : endingMs,
    bodyBytesStep: 0,
    ...changes,
  }
}

function isStopped(expects: Expectation): boolean {
  return 'codes' in expects && expects.codes.includes('execution_timeout')
}

export function refused(words: RegExp): Expectation {
  return { outcome: 'refused', words }
}

export function unfit(...codes: ErrorCode[]): Expectation {
  return { outcome: 'unfit', codes }
}

export function fails(...codes: ErrorCode[]): Expectation {
  return { outcome: 'fails', codes }
}

export const survives: Expectation = { outcome: 'survives' }

export function answers(status: number, text?: string): Expectation {
  return { outcome: 'answers', status, ...(text === undefined ? {} : { text }) }
}

/** A bump allocator that never frees and grows the memory when it must. */
export const ALLOC = `
  (global $heap (mut i32) (i32.const 65536))
  (func $alloc (export "alloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16)))
      (then (drop (memory.grow
        (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (local.get $at))`

/** An empty 200 in the response buffer; the last expression of a handler that survives. */
export const EMPTY_RESPONSE = '(i32.store8 (local.get $out) (i32.const 10)) (i32.const 1)'

export const MEMORY = '(memory (export "memory") 4)'

/** The exported handler around `body`, an expression of type i32, or any code that does not go on. */
export function handler(body: string): string {
  return `(func $handle (export "handle") (param $method i32) (param i32) (param $path i32)
    (param $path_length i32) (param $headers i32) (param i32) (param $body i32)
    (param $body_length i32) (param $out i32) (param $capacity i32) (result i32)
    (local $i i32) (local $n i64) (local $x f64) (local $v v128)
    ${body})`
}

/** A whole module of the edgefn ABI. `imports` stand first, `fields` anywhere. */
export function edgefn(
  body: string,
  { imports = '', fields = '', memory = MEMORY, alloc = ALLOC } = {},
): string {
  return `(module ${imports} ${memory} ${alloc} ${fields} ${handler(body)})`
}

/** A whole WAGI module. */
export function wagi(body: string, { imports = '', fields = '', memory = MEMORY } = {}): string {
  return `(module ${imports} ${memory} ${fields}
    (func $start (export "_start") (local $i i32) (local $n i64) ${body}))`
}

/** Imports from WASI by name: `$fd_write` and so on. */
export function wasi(...names: (keyof typeof WASI_TYPES)[]): string {
  return names
    .map(
      (name) => `(import "wasi_snapshot_preview1" "${name}" (func $${name} ${WASI_TYPES[name]}))`,
    )
    .join(' ')
}

const WASI_TYPES = {
  args_get: '(param i32 i32) (result i32)',
  clock_time_get: '(param i32 i64 i32) (result i32)',
  environ_get: '(param i32 i32) (result i32)',
  fd_close: '(param i32) (result i32)',
  fd_read: '(param i32 i32 i32 i32) (result i32)',
  fd_write: '(param i32 i32 i32 i32) (result i32)',
  poll_oneoff: '(param i32 i32 i32 i32) (result i32)',
  proc_exit: '(param i32)',
  random_get: '(param i32 i32) (result i32)',
  sched_yield: '(result i32)',
} as const

/** edgefn's own imports. */
export const LOG = '(import "edgefn" "log" (func $log (param i32 i32 i32)))'
export const REQUEST_ID =
  '(import "edgefn" "request_id" (func $request_id (param i32 i32) (result i32)))'
export const RESPONSE = `
  (import "edgefn" "response_head" (func $response_head (param i32 i32 i32) (result i32)))
  (import "edgefn" "response_write" (func $response_write (param i32 i32) (result i32)))`

/** Bytes as a WAT string. */
export function quoted(text: string): string {
  return `"${[...new TextEncoder().encode(text)].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('')}"`
}
