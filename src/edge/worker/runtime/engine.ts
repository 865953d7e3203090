/** The runtime of one executor thread: the library, the host modules, the parsed modules and the executors it keeps. */

import { NativeError } from '../../../../ffi/handles.ts'
import type {
  ExecutorHandle,
  InstanceHandle,
  MemoryHandle,
  ModuleHandle,
  StoreHandle,
} from '../../../../ffi/handles.ts'
import { END_CALL, HostModule } from '../../../../ffi/host-module.ts'
import type { HostFunction } from '../../../../ffi/host-module.ts'
import { openLibc } from '../../../../ffi/libc.ts'
import { openWasmedge } from '../../../../ffi/library.ts'
import { GuestMemory } from '../../../../ffi/memory.ts'
import { Native } from '../../../../ffi/native.ts'
import type { StoppableExecutor } from '../../../../ffi/native.ts'
import { readValueTypes, ValueArray } from '../../../../ffi/values.ts'
import type { ValueKind } from '../../../../ffi/values.ts'
import { EdgefnError } from '../../../errors.ts'
import { EXTISM_MODULE } from '../../../wasm/extism-imports.ts'
import { HOST_IMPORTS } from '../../../wasm/host-imports.ts'
import type { WasmModule } from '../../../wasm/module.ts'
import { PAGE_OF_POLLS_BYTES, POLL_PAGE_OFFSET } from '../../../wasm/rewrite/polls.ts'
import { ASSEMBLYSCRIPT_FUNCTIONS } from '../host/assemblyscript.ts'
import type { CallContext } from '../host/context.ts'
import { EDGEFN_FUNCTIONS } from '../host/edgefn.ts'
import { createHost } from '../host/create-host.ts'
import { EXTISM_HOST_FUNCTIONS, EXTISM_OLD_FUNCTIONS } from '../host/extism/functions.ts'
import type { Host, HostFunctionTable, HostOptions } from '../host/host.ts'
import { SPIN_FUNCTIONS } from '../host/spin/functions.ts'
import { WASI_FUNCTIONS } from '../host/wasi/table.ts'
import { Scratch } from './scratch.ts'

const IMPLEMENTATIONS: Readonly<Record<string, HostFunctionTable>> = {
  wasi_snapshot_preview1: WASI_FUNCTIONS,
  edgefn: EDGEFN_FUNCTIONS,
  env: { ...ASSEMBLYSCRIPT_FUNCTIONS, ...EXTISM_OLD_FUNCTIONS },
  [EXTISM_MODULE]: EXTISM_HOST_FUNCTIONS,
  ...SPIN_FUNCTIONS,
}

/** `(module (memory (export "m") 1))`. */
const MEMORY_MODULE = new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 3, 1, 0, 1, 7, 5, 1, 1, 0x6d, 2, 0,
])

interface LoadedModule {
  readonly handle: ModuleHandle
  /** Whether it is native code, whose instances poll. */
  readonly compiled: boolean
}

export class Engine {
  readonly native: Native
  readonly host: Host
  readonly version: string
  readonly types: ReturnType<typeof readValueTypes>
  /** Parameters and results of the invocations that every call makes; a thread makes one at a time. */
  readonly values: {
    readonly none: ValueArray
    readonly one: ValueArray
    /** Of an edgefn guest's entrypoint. */
    readonly handle: ValueArray
    readonly result: ValueArray
  }
  /** Where text is put together for a guest. */
  readonly scratch = new Scratch()
  readonly #store: StoreHandle
  /** Made when a guest first imports from them. */
  readonly #hostModules = new Map<string, HostModule>()
  /** One per page limit: a thread runs one guest at a time, so its instances can share. */
  readonly #executors = new Map<number, StoppableExecutor>()
  readonly #modules = new Map<string, LoadedModule>()

  /** Opens the library. Throws LibraryMissing (ffi/library.ts) when this machine has none that fits. */
  constructor(options: HostOptions) {
    const lib = openWasmedge()
    const libc = openLibc()
    this.native = new Native(lib)
    this.version = String(lib.WasmEdge_VersionGet())
    this.types = readValueTypes(lib)
    const i32s = (count: number) => new ValueArray(this.types, Array<'i32'>(count).fill('i32'))
    this.values = { none: i32s(0), one: i32s(1), handle: i32s(10), result: i32s(1) }
    this.host = createHost(options, libc, new GuestMemory(lib, libc))
    this.#store = this.native.createStore()
  }

  hasModule(key: string): boolean {
    return this.#modules.has(key)
  }

  /**
   * Parses and validates a module and keeps it under `key`. `compiled` is for bytes that the node's compiler made and signed,
   * and only when a holder is parked in this process. `imports` are the module's. Throws `function_load_failed`.
   */
  loadModule(
    key: string,
    bytes: Uint8Array,
    compiled: boolean,
    imports: WasmModule['imports'],
  ): void {
    for (const { module, name } of imports) this.#offer(module, name)
    try {
      this.#modules.set(key, { handle: this.native.loadModule(bytes, compiled), compiled })
    } catch (thrown) {
      if (!(thrown instanceof NativeError)) throw thrown
      const message = `The engine refuses the module: ${thrown.message}.`
      throw new EdgefnError('function_load_failed', message, { cause: thrown })
    }
  }

  /** Makes sure that guests can import a host function; what is none the engine will refuse. */
  #offer(module: string, name: string): void {
    const offered = this.#hostModules.get(module)
    if (offered?.has(name) === true) return
    const fn = hostFunction(module, name, this.host)
    if (fn === null) return
    if (offered !== undefined) return offered.add(fn)
    const { native, host } = this
    const created = new HostModule(native.lib, host.libc, module)
    created.add(fn)
    native.registerImport(this.executor(1).executor, this.#store, created.instance)
    this.#hostModules.set(module, created)
  }

  unloadModule(key: string): void {
    const module = this.#modules.get(key)
    if (module === undefined) return
    this.#modules.delete(key)
    this.native.deleteModule(module.handle)
  }

  /** The executor for a page limit, made when needed (150 µs: a native thread is started for its cancel handle). */
  executor(memoryPages: number): StoppableExecutor {
    const kept = this.#executors.get(memoryPages)
    if (kept !== undefined) return kept
    const executor = this.native.createExecutor(this.#store, memoryPages)
    this.#executors.set(memoryPages, executor)
    return executor
  }

  /** Throws a cancelled executor away; its token may still be set. */
  discardExecutor(executor: StoppableExecutor): void {
    if (this.#executors.get(executor.memory_pages) === executor) {
      this.#executors.delete(executor.memory_pages)
    }
    this.native.deleteExecutor(executor)
  }

  /** Instantiates a loaded module; its start function runs. Throws NativeError. */
  instantiate(key: string, executor: ExecutorHandle): InstanceHandle {
    const module = this.#modules.get(key)
    if (module === undefined) throw new Error(`Module ${key} is not loaded.`)
    return this.native.instantiate(executor, this.#store, module.handle)
  }

  /**
   * Gives the memory of a new instance the page that it polls, if its module does. Returns the page's address, or 0. Throws
   * when the system has no mapping left.
   */
  mapPollPage(key: string, memory: MemoryHandle): number {
    if (this.#modules.get(key)?.compiled !== true) return 0
    const page = this.host.memory.baseOf(memory) + POLL_PAGE_OFFSET
    this.host.libc.mapZeros(page, PAGE_OF_POLLS_BYTES)
    return page
  }

  /**
   * Whether this process has address space for one more memory. Where it has none the engine hands out memories without
   * any, in which the first data segment is out of bounds (RELIABILITY finding 6).
   */
  hasAddressSpace(executor: ExecutorHandle): boolean {
    const module = this.native.loadModule(MEMORY_MODULE, false)
    const instance = this.native.instantiate(executor, this.#store, module)
    const memory = this.native.findMemory(instance, 'm')
    const reserved = memory !== null && this.host.memory.isReserved(memory)
    this.native.deleteInstance(instance)
    this.native.deleteModule(module)
    return reserved
  }

  /** Deletes all that the library holds for this thread; instances must be gone. */
  close(): void {
    for (const key of [...this.#modules.keys()]) this.unloadModule(key)
    for (const executor of this.#executors.values()) this.native.deleteExecutor(executor)
    this.#executors.clear()
    this.native.deleteStore(this.#store)
    for (const module of this.#hostModules.values()) module.close()
    this.host.kv.close()
    this.host.sql.close()
  }

  deleteInstance(instance: InstanceHandle): void {
    this.host.memory.detach()
    this.native.deleteInstance(instance)
  }
}

/** Joins the signature that ingest admits with its implementation; null for what is no host function. */
function hostFunction(module: string, name: string, host: Host): HostFunction | null {
  const entry = HOST_IMPORTS.find((each) => each.module === module && each.name === name)
  const body = IMPLEMENTATIONS[module]?.[name]
  if (entry === undefined || body === undefined) return null
  return {
    name,
    // Host functions take and give numbers only; the table's type is wider because guests' own functions may do more.
    params: entry.params as readonly ValueKind[],
    results: entry.results as readonly ValueKind[],
    run(call) {
      // A row of host calls needs no branch, so that a guest would not see that it is to stop.
      if (host.stopped()) return END_CALL
      // A plug-in calls its kernel for every eight bytes, and its own memory is none of the kernel's business.
      if (module !== EXTISM_MODULE) host.memory.attach(call.memory())
      return body(call, host.current as CallContext, host)
    },
  }
}
