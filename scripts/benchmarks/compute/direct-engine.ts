/** Compiled modules called through libwasmedge without a node around them, as they are and as edgefn rewrites them. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { compileModule } from '../../../ffi/compiler.ts'
import { handle, RESULT, type FunctionHandle } from '../../../ffi/handles.ts'
import { openLibc } from '../../../ffi/libc.ts'
import { openWasmedge } from '../../../ffi/library.ts'
import { GuestMemory } from '../../../ffi/memory.ts'
import { Native } from '../../../ffi/native.ts'
import { HOLDER_MODULE, park } from '../../../ffi/parked-holder.ts'
import { readValueTypes, ValueArray } from '../../../ffi/values.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'
import { decodeModule } from '../../../src/wasm/decode.ts'
import { PAGE_OF_POLLS_BYTES, POLL_PAGE_OFFSET } from '../../../src/wasm/rewrite/polls.ts'
import { MEMORY_EXPORT, safeguardForCompiler } from '../../../src/wasm/rewrite/safeguard.ts'

const memoryPagesMax = 64

export interface TimedCall {
  readonly nanoseconds: number
  readonly result: number
}

/** One per process: the library's signal handlers are the process's. */
export class DirectEngine {
  readonly #lib = openWasmedge()
  readonly #libc = openLibc()
  readonly #native = new Native(this.#lib)
  readonly #types = readValueTypes(this.#lib)

  constructor() {
    park(this.#native, this.compile(HOLDER_MODULE))
  }

  /** Compiled at the level that edgefn uses in the end. */
  compile(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const dir = mkdtempSync(join(tmpdir(), 'edgefn-direct-'))
    try {
      const path = join(dir, 'compiled.wasm')
      compileModule(this.#lib, bytes, path, { level: 'O2', interruptible: false })
      return new Uint8Array(readFileSync(path))
    } finally {
      rmSync(dir, { recursive: true })
    }
  }

  /** What edgefn compiles in its place: with polls, and counting the stack. */
  rewrite(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const measured = { stackBytes: LIMITS.stackBytesMax, measured: null, polls: true }
    return safeguardForCompiler(decodeModule(bytes), measured).bytes
  }

  /** Instantiates a compiled module. What comes back calls its export `run` of i32 parameters, as many as said, and times that. */
  load(
    compiled: Uint8Array<ArrayBuffer>,
    parameters: number,
  ): (...values: readonly number[]) => TimedCall {
    const native = this.#native
    const store = native.createStore()
    const { executor } = native.createExecutor(store, memoryPagesMax)
    const instance = native.instantiate(executor, store, native.loadModule(compiled, true))
    const memory = native.findMemory(instance, MEMORY_EXPORT)
    if (memory !== null) {
      const page = new GuestMemory(this.#lib, this.#libc).baseOf(memory) + POLL_PAGE_OFFSET
      this.#libc.mapZeros(page, PAGE_OF_POLLS_BYTES)
    }
    const call = (fn: FunctionHandle, given: ValueArray, result: ValueArray) => {
      const code = native.invoke(executor, fn, given, result)
      if (code !== RESULT.success) throw new Error(native.message(code))
    }
    const initialise = native.findFunction(instance, '_initialize')
    const nothing = new ValueArray(this.#types, [])
    if (initialise !== null) call(initialise, nothing, nothing)
    const run = handle(native.findFunction(instance, 'run'), 'FunctionInstance')
    const given = new ValueArray(this.#types, Array<'i32'>(parameters).fill('i32'))
    const result = new ValueArray(this.#types, ['i32'])
    return (...values) => {
      values.forEach((value, index) => given.setI32(index, value))
      const startedAt = Bun.nanoseconds()
      call(run, given, result)
      return { nanoseconds: Bun.nanoseconds() - startedAt, result: result.getI32(0) >>> 0 }
    }
  }
}
