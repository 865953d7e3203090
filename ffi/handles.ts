/** Native objects as branded numbers, so that one kind cannot be passed for another. Zero is never a handle. */

import type { Pointer } from 'bun:ffi'

export type NativeHandle<T extends string> = Pointer & { readonly __nativeHandle: T }

export type ModuleHandle = NativeHandle<'ASTModule'>
export type StoreHandle = NativeHandle<'Store'>
export type ExecutorHandle = NativeHandle<'Executor'>
export type AsyncHandle = NativeHandle<'Async'>
export type InstanceHandle = NativeHandle<'ModuleInstance'>
export type FunctionHandle = NativeHandle<'FunctionInstance'>
export type MemoryHandle = NativeHandle<'MemoryInstance'>

/** Brands a pointer that the library returned; throws when it is null, which the library means as "could not". */
export function handle<T extends string>(
  pointer: Pointer | bigint | null,
  what: T,
): NativeHandle<T> {
  if (pointer === null) throw new NativeError(0, `libwasmedge could not create ${what}.`)
  return Number(pointer) as NativeHandle<T>
}

/** A call of the library that did not succeed; `code` is WasmEdge_ErrCode (0x408: out of bounds, …), 0 when there is none. */
export class NativeError extends Error {
  override readonly name = 'NativeError'
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** Codes of `WasmEdge_ErrCode` that edgefn tells apart; all others are traps like any other. */
export const RESULT = {
  success: 0x00,
  terminated: 0x01,
  interrupted: 0x07,
  divide_by_zero: 0x404,
  out_of_bounds: 0x408,
  unreachable: 0x40a,
  host_function_failed: 0x40e,
} as const
