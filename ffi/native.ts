/** libwasmedge's objects with their lifetimes: modules, executors, stores, instances, calls. One of these per thread. */

import { ptr } from 'bun:ffi'
import type { Pointer } from 'bun:ffi'

import { createConfig } from './config.ts'
import { handle, NativeError, RESULT } from './handles.ts'
import type {
  AsyncHandle,
  ExecutorHandle,
  FunctionHandle,
  InstanceHandle,
  MemoryHandle,
  ModuleHandle,
  StoreHandle,
} from './handles.ts'
import type { Wasmedge } from './library.ts'
import type { ValueArray } from './values.ts'

/** `(module (func (export "f")))`: something to invoke asynchronously once, for its cancel handle. */
const NOOP_MODULE = new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0, 10, 4,
  1, 2, 0, 0x0b,
])

const encoder = new TextEncoder()

/** An executor, and the handle whose cancellation interrupts whatever the executor runs (DESIGN section 3). */
export interface StoppableExecutor {
  readonly executor: ExecutorHandle
  readonly stop: AsyncHandle
  readonly memory_pages: number
}

/** Everything that must stay reachable for as long as the library may hold its address is held here. */
export class Native {
  readonly lib: Wasmedge
  readonly #outPointer = new BigUint64Array(1)
  #noop: FunctionHandle | null = null

  constructor(lib: Wasmedge) {
    this.lib = lib
  }

  /**
   * Parses and validates a module from bytes that ingest has checked. Only with `compiled`, for bytes that our own compiler
   * made, is native code in them taken (RELIABILITY finding 1). Throws NativeError.
   */
  loadModule(bytes: Uint8Array, compiled: boolean): ModuleHandle {
    const config = createConfig(this.lib, { memoryPages: 1, compiled })
    const loader = handle(this.lib.WasmEdge_LoaderCreate(config), 'Loader')
    const validator = handle(this.lib.WasmEdge_ValidatorCreate(config), 'Validator')
    try {
      this.#check(
        this.lib.WasmEdge_LoaderParseFromBuffer(
          loader,
          ptr(this.#outPointer),
          ptr(bytes),
          bytes.byteLength,
        ),
      )
      const module = handle(this.#taken(), 'ASTModule')
      const code = this.lib.WasmEdge_ValidatorValidate(validator, module)
      if (code !== RESULT.success) this.lib.WasmEdge_ASTModuleDelete(module)
      this.#check(code)
      return module
    } finally {
      this.lib.WasmEdge_ValidatorDelete(validator)
      this.lib.WasmEdge_LoaderDelete(loader)
      this.lib.WasmEdge_ConfigureDelete(config)
    }
  }

  deleteModule(module: ModuleHandle): void {
    this.lib.WasmEdge_ASTModuleDelete(module)
  }

  createStore(): StoreHandle {
    return handle(this.lib.WasmEdge_StoreCreate(), 'Store')
  }

  deleteStore(store: StoreHandle): void {
    this.lib.WasmEdge_StoreDelete(store)
  }

  /** The page limit is read from the executor's configuration at instantiation [R6.1 P10]. */
  createExecutor(store: StoreHandle, memoryPages: number): StoppableExecutor {
    const config = createConfig(this.lib, { memoryPages, compiled: true })
    const executor = handle(this.lib.WasmEdge_ExecutorCreate(config, null), 'Executor')
    this.lib.WasmEdge_ConfigureDelete(config)
    this.#noop ??= this.#createNoop(executor, store)
    const stop = handle(
      this.lib.WasmEdge_ExecutorAsyncInvoke(executor, this.#noop, null, 0),
      'Async',
    )
    this.lib.WasmEdge_AsyncWait(stop)
    return { executor, stop, memory_pages: memoryPages }
  }

  /** Nobody may be about to cancel it any more. */
  deleteExecutor(executor: StoppableExecutor): void {
    this.lib.WasmEdge_AsyncDelete(executor.stop)
    this.lib.WasmEdge_ExecutorDelete(executor.executor)
  }

  registerImport(executor: ExecutorHandle, store: StoreHandle, imports: InstanceHandle): void {
    this.#check(this.lib.WasmEdge_ExecutorRegisterImport(executor, store, imports))
  }

  /** Instantiates, start function included. Throws NativeError with the trap's code. */
  instantiate(executor: ExecutorHandle, store: StoreHandle, module: ModuleHandle): InstanceHandle {
    this.#outPointer[0] = 0n
    this.#check(
      this.lib.WasmEdge_ExecutorInstantiate(executor, ptr(this.#outPointer), store, module),
    )
    return handle(this.#taken(), 'ModuleInstance')
  }

  deleteInstance(instance: InstanceHandle): void {
    this.lib.WasmEdge_ModuleInstanceDelete(instance)
  }

  findFunction(instance: InstanceHandle, name: string): FunctionHandle | null {
    const bytes = encoder.encode(name)
    const found = this.lib.WasmEdge_ModuleInstanceFindFunction(instance, bytes.length, ptr(bytes))
    return found as FunctionHandle | null
  }

  findMemory(instance: InstanceHandle, name: string): MemoryHandle | null {
    const bytes = encoder.encode(name)
    const found = this.lib.WasmEdge_ModuleInstanceFindMemory(instance, bytes.length, ptr(bytes))
    return found as MemoryHandle | null
  }

  /** Calls a function and returns the library's result code; results are in `results` when it is success. */
  invoke(
    executor: ExecutorHandle,
    fn: FunctionHandle,
    parameters: ValueArray,
    results: ValueArray,
  ): number {
    return this.lib.WasmEdge_ExecutorInvoke(
      executor,
      fn,
      parameters.pointer,
      parameters.length,
      results.pointer,
      results.length,
    )
  }

  /** The library's own words for a result code. */
  message(code: number): string {
    return String(this.lib.WasmEdge_ResultGetMessage(code))
  }

  #createNoop(executor: ExecutorHandle, store: StoreHandle): FunctionHandle {
    const instance = this.instantiate(executor, store, this.loadModule(NOOP_MODULE, false))
    return handle(this.findFunction(instance, 'f'), 'FunctionInstance')
  }

  #check(code: number): void {
    if (code !== RESULT.success) throw new NativeError(code, this.message(code))
  }

  #taken(): Pointer | null {
    const address = Number(this.#outPointer[0] ?? 0n)
    return address === 0 ? null : (address as Pointer)
  }
}
