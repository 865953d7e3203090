/** Host functions: JavaScript that a guest calls. They must be made in the thread that runs the guest. */

import { JSCallback, ptr, read } from 'bun:ffi'
import type { Pointer } from 'bun:ffi'

import { handle, RESULT } from './handles.ts'
import type { InstanceHandle, MemoryHandle } from './handles.ts'
import type { Libc } from './libc.ts'
import type { Wasmedge } from './library.ts'
import { readValueTypes, typeList, VALUE_BYTES } from './values.ts'
import type { ValueKind } from './values.ts'

/** Arguments of one call, read on demand, and its result. Valid only during the call. */
export interface HostCall {
  i32(index: number): number
  u32(index: number): number
  i64(index: number): bigint
  f64(index: number): number
  /** The calling guest's memory 0, or null when it has none. */
  memory(): MemoryHandle | null
}

/** What a host function returns: its result, nothing, or the order to end the guest's call. */
export type HostResult = number | bigint | undefined | typeof END_CALL

/** Ends the guest's call at once, as proc_exit does; the invocation then returns RESULT.terminated. */
export const END_CALL = Symbol('end the call')

export interface HostFunction {
  readonly name: string
  readonly params: readonly ValueKind[]
  readonly results: readonly ValueKind[]
  readonly run: (call: HostCall) => HostResult
}

const encoder = new TextEncoder()

/**
 * A module of host functions, to be registered under its name. Lives as long as its thread. Functions are added when somebody
 * imports them, also when it was registered long ago: to make one costs 20 µs, and few guests import more than a handful.
 */
export class HostModule {
  readonly instance: InstanceHandle
  readonly #lib: Wasmedge
  readonly #libc: Libc
  // The library holds the callbacks' addresses: they must stay reachable.
  readonly #callbacks = new Map<string, JSCallback>()

  constructor(lib: Wasmedge, libc: Libc, name: string) {
    this.#lib = lib
    this.#libc = libc
    const moduleName = encoder.encode(name)
    const created = lib.WasmEdge_ModuleInstanceCreate(moduleName.length, ptr(moduleName))
    this.instance = handle(created, 'ModuleInstance')
  }

  has(name: string): boolean {
    return this.#callbacks.has(name)
  }

  /** Deletes it; no instance that imports from it may be left. */
  close(): void {
    this.#lib.WasmEdge_ModuleInstanceDelete(this.instance)
    for (const callback of this.#callbacks.values()) callback.close()
  }

  add(fn: HostFunction): void {
    const lib = this.#lib
    const types = readValueTypes(lib)
    const params = typeList(types, fn.params)
    const results = typeList(types, fn.results)
    const type = handle(
      lib.WasmEdge_FunctionTypeCreate(
        params === null ? null : ptr(params),
        fn.params.length,
        results === null ? null : ptr(results),
        fn.results.length,
      ),
      'FunctionType',
    )
    const callback = createCallback(lib, this.#libc, fn)
    this.#callbacks.set(fn.name, callback)
    const native = lib.WasmEdge_FunctionInstanceCreate(type, callback.ptr, null, 0)
    lib.WasmEdge_FunctionTypeDelete(type)
    const name = encoder.encode(fn.name)
    lib.WasmEdge_ModuleInstanceAddFunction(this.instance, name.length, ptr(name), native)
  }
}

/** Nothing thrown may cross into native code: whatever a host function throws ends the guest's call as a failure. */
function createCallback(lib: Wasmedge, libc: Libc, fn: HostFunction): JSCallback {
  let frame: Pointer | null = null
  let params: Pointer | null = null
  const call: HostCall = {
    i32: (index) => read.i32(params as Pointer, index * VALUE_BYTES),
    u32: (index) => read.u32(params as Pointer, index * VALUE_BYTES),
    i64: (index) => read.i64(params as Pointer, index * VALUE_BYTES),
    f64: (index) => read.f64(params as Pointer, index * VALUE_BYTES),
    memory: () => lib.WasmEdge_CallingFrameGetMemoryInstance(frame, 0) as MemoryHandle | null,
  }
  const slot = new Uint8Array(16)
  const slotView = new DataView(slot.buffer)
  const kind = fn.results[0]
  function run(_data: Pointer, frameNow: Pointer, paramsNow: Pointer, returns: Pointer): number {
    frame = frameNow
    params = paramsNow
    try {
      const result = fn.run(call)
      if (result === END_CALL) return RESULT.terminated
      if (kind !== undefined) {
        store(slotView, kind, result ?? 0)
        libc.copyOut(returns, slot, 16)
      }
      return RESULT.success
    } catch {
      return RESULT.host_function_failed
    } finally {
      frame = null
      params = null
    }
  }
  return new JSCallback(run as never, { args: ['ptr', 'ptr', 'ptr', 'ptr'], returns: 'u32' })
}

function store(view: DataView, kind: ValueKind, result: number | bigint): void {
  switch (kind) {
    case 'i32':
      return view.setInt32(0, Number(result), true)
    case 'i64':
      return view.setBigInt64(0, BigInt(result), true)
    case 'f32':
      return view.setFloat32(0, Number(result), true)
    case 'f64':
      return view.setFloat64(0, Number(result), true)
  }
}
