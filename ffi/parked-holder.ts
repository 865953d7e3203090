/**
 * One invocation of compiled code that never ends (DESIGN section 3). The engine installs its signal handlers when the
 * first thread enters compiled code and removes them when the last one leaves: six system calls each time, and a removal in
 * one thread that races with a trap in another ends the process. While this invocation is parked, nobody is ever the last.
 */

import { dlopen, FFIType, ptr } from 'bun:ffi'
import type { Pointer } from 'bun:ffi'

import type { InstanceHandle } from './handles.ts'
import { handle, NativeError } from './handles.ts'
import type { Wasmedge } from './library.ts'
import type { Native } from './native.ts'

const encoder = new TextEncoder()

/**
 * `(module (import "edgefn" "arrive" (func)) (import "edgefn" "park" (func)) (func (export "f") (call 0) (call 1)))`, for the
 * compiler; what comes out of it is what `park` takes.
 */
export const HOLDER_MODULE = new Uint8Array([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[1, 4, 1, 0x60, 0, 0],
  ...[2, 31, 2],
  ...[6, 0x65, 0x64, 0x67, 0x65, 0x66, 0x6e, 6, 0x61, 0x72, 0x72, 0x69, 0x76, 0x65, 0, 0],
  ...[6, 0x65, 0x64, 0x67, 0x65, 0x66, 0x6e, 4, 0x70, 0x61, 0x72, 0x6b, 0, 0],
  ...[3, 2, 1, 0],
  ...[7, 5, 1, 1, 0x66, 0, 2],
  ...[10, 8, 1, 6, 0, 0x10, 0, 0x10, 1, 0x0b],
])

/** `sem_t` has 32 bytes with glibc and musl on every 64-bit machine; zeros are a semaphore that nobody has posted. */
const SEMAPHORE_BYTES = 64

/** Milliseconds that the holder's thread may take to arrive, on the busiest machine too, and between two looks. */
const arriveMsMax = 4_000
const lookMs = 1

/**
 * Parks an invocation of the compiled holder module for the rest of the process, on a native thread of the engine's. The
 * host functions it calls are libc's own, whose first argument is the function's data: `sem_post` on one semaphore to say that
 * it is in compiled code, and `sem_wait` on one that nobody posts. Returns when it has said so, and not before: another
 * invocation that left compiled code while it was entering might take the handlers from under it for good. Throws NativeError.
 */
export function park(native: Native, compiled: Uint8Array): void {
  const { lib } = native
  const libc = dlopen('libc.so.6', {
    sem_post: { args: [FFIType.ptr], returns: FFIType.i32 },
    sem_wait: { args: [FFIType.ptr], returns: FFIType.i32 },
    sem_trywait: { args: [FFIType.ptr], returns: FFIType.i32 },
    calloc: { args: [FFIType.u64, FFIType.u64], returns: FFIType.ptr },
  })
  const { sem_post, sem_wait, sem_trywait, calloc } = libc.symbols
  // Of the system's memory and never freed: the thread that parks the holder may end, and its JavaScript's memory with it.
  const semaphore = () => handle(calloc(1, SEMAPHORE_BYTES), 'Semaphore')
  const [arrived, never] = [semaphore(), semaphore()]
  const moduleName = encoder.encode('edgefn')
  const host = handle(
    lib.WasmEdge_ModuleInstanceCreate(moduleName.length, ptr(moduleName)),
    'ModuleInstance',
  )
  addFunction(lib, host, 'arrive', sem_post, arrived)
  addFunction(lib, host, 'park', sem_wait, never)
  const store = native.createStore()
  const executor = native.createExecutor(store, 1)
  native.registerImport(executor.executor, store, host)
  const instance = native.instantiate(executor.executor, store, native.loadModule(compiled, true))
  const entry = handle(native.findFunction(instance, 'f'), 'FunctionInstance')
  handle(lib.WasmEdge_ExecutorAsyncInvoke(executor.executor, entry, null, 0), 'Async')
  const pause = new Int32Array(new SharedArrayBuffer(4))
  const giveUpAt = performance.now() + arriveMsMax
  while (sem_trywait(arrived) !== 0) {
    if (performance.now() > giveUpAt) throw new NativeError(0, 'The holder did not arrive in time.')
    Atomics.wait(pause, 0, 0, lookMs)
  }
}

/** Adds a function of libc's that takes one pointer, `data`, and answers 0, which is success to the library too. */
function addFunction(
  lib: Wasmedge,
  host: InstanceHandle,
  name: string,
  symbol: unknown,
  data: Pointer,
): void {
  const type = handle(lib.WasmEdge_FunctionTypeCreate(null, 0, null, 0), 'FunctionType')
  const address = (symbol as { readonly ptr: Pointer }).ptr
  const fn = lib.WasmEdge_FunctionInstanceCreate(type, address, data, 0)
  lib.WasmEdge_FunctionTypeDelete(type)
  const bytes = encoder.encode(name)
  lib.WasmEdge_ModuleInstanceAddFunction(host, bytes.length, ptr(bytes), fn)
}
