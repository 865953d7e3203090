/**
 * One invocation of compiled code that never ends (DESIGN section 3). The engine installs its signal handlers when the
 * first thread enters compiled code and removes them when the last one leaves: six system calls each time, and a removal in
 * one thread that races with a trap in another ends the process. While this invocation is parked, nobody is ever the last.
 */

import { dlopen, FFIType, ptr } from 'bun:ffi'
import type { Pointer } from 'bun:ffi'

import type { AsyncHandle } from './handles.ts'
import { handle } from './handles.ts'
import type { Native } from './native.ts'

/**
 * `(module (import "edgefn" "park" (func)) (func (export "f") (call 0)))`, for the compiler; what comes out of it is what
 * `park` takes.
 */
export const HOLDER_MODULE = new Uint8Array([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[1, 4, 1, 0x60, 0, 0],
  ...[2, 15, 1, 6, 0x65, 0x64, 0x67, 0x65, 0x66, 0x6e, 4, 0x70, 0x61, 0x72, 0x6b, 0, 0],
  ...[3, 2, 1, 0],
  ...[7, 5, 1, 1, 0x66, 0, 1],
  ...[10, 6, 1, 4, 0, 0x10, 0, 0x0b],
])

/**
 * `sem_t` has 32 bytes with glibc and musl on every 64-bit machine; zeros are a semaphore that nobody has posted. A whole
 * page, because small arrays lie in JavaScript's heap until somebody asks for their buffer.
 */
const SEMAPHORE_BYTES = 4096

/** Everything whose address native code holds for as long as the process lives. */
const parked: unknown[] = []

/**
 * Parks an invocation of the compiled holder module for the rest of the process, on a native thread of the engine's. The
 * host function it waits in is libc's `sem_wait` itself, whose first argument is the function's data. Throws NativeError.
 */
export function park(native: Native, compiled: Uint8Array<ArrayBuffer>): void {
  const { lib } = native
  const libc = dlopen('libc.so.6', {
    sem_wait: { args: [FFIType.ptr], returns: FFIType.i32 },
  })
  const semaphore = new Uint8Array(SEMAPHORE_BYTES)
  const moduleName = new TextEncoder().encode('edgefn')
  const functionName = new TextEncoder().encode('park')
  const host = handle(
    lib.WasmEdge_ModuleInstanceCreate(moduleName.length, ptr(moduleName)),
    'ModuleInstance',
  )
  const type = handle(lib.WasmEdge_FunctionTypeCreate(null, 0, null, 0), 'FunctionType')
  const wait = lib.WasmEdge_FunctionInstanceCreate(
    type,
    (libc.symbols.sem_wait as unknown as { readonly ptr: Pointer }).ptr,
    ptr(semaphore),
    0,
  )
  lib.WasmEdge_FunctionTypeDelete(type)
  lib.WasmEdge_ModuleInstanceAddFunction(host, functionName.length, ptr(functionName), wait)
  const store = native.createStore()
  const executor = native.createExecutor(store, 1)
  native.registerImport(executor.executor, store, host)
  const instance = native.instantiate(executor.executor, store, native.loadModule(compiled, true))
  const entry = handle(native.findFunction(instance, 'f'), 'FunctionInstance')
  const call = handle(
    lib.WasmEdge_ExecutorAsyncInvoke(executor.executor, entry, null, 0),
    'Async',
  ) satisfies AsyncHandle
  parked.push(libc, semaphore, call)
}
