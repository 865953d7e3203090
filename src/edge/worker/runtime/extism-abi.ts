/** The Extism ABI: a plug-in's export that takes the body from the kernel's memory and leaves its output there. */

import type { FunctionHandle } from '../../../../ffi/handles.ts'
import { ValueArray } from '../../../../ffi/values.ts'
import { EdgefnError } from '../../../errors.ts'
import { PAGE_BYTES } from '../../../protocol/limits.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestRequest, GuestResponse } from '../call.ts'
import { codeKey } from '../call.ts'
import { Kernel } from '../host/extism/kernel.ts'
import { PluginCall, PluginVariables } from '../host/extism/plugin-call.ts'
import type { KeptInstance } from './abi-table.ts'
import { assembleResponse, checkFieldBytes, invalid } from './cgi.ts'
import type { Engine } from './engine.ts'
import { initialise } from './initialise.ts'
import type { Guest, Invocation } from './invocation.ts'

/** Variables by which a plug-in says more of its response than the body; they are gone after the call. */
const STATUS_VARIABLE = 'http.status'
const HEADERS_VARIABLE = 'http.headers'

/** What the Extism runtime runs before a plug-in's first call; Haskell's own start comes behind `_initialize`. */
const HASKELL_START = 'hs_init'
const INITIALISERS = ['__wasm_call_ctors', '_initialize']

export class ExtismInstance implements KeptInstance {
  readonly guest: Guest
  readonly #engine: Engine
  readonly #entry: FunctionHandle
  readonly #nothing: ValueArray
  readonly #result: ValueArray
  #variables = new PluginVariables()

  private constructor(engine: Engine, guest: Guest, entry: FunctionHandle) {
    this.#engine = engine
    this.guest = guest
    this.#entry = entry
    this.#nothing = new ValueArray(engine.types, [])
    this.#result = new ValueArray(engine.types, ['i32'])
  }

  /** Instantiates and initialises a loaded plug-in. Throws EdgefnError; nothing is left behind then. */
  static create(invocation: Invocation, fn: WorkerFunction): ExtismInstance {
    const { engine, context } = invocation
    context.plugin = new PluginCall(kernelFor(fn, new Uint8Array(0)), new PluginVariables())
    const guest = invocation.instantiate(codeKey(fn))
    try {
      const isHaskell = engine.native.findFunction(guest.instance, HASKELL_START) !== null
      initialise(invocation, guest, isHaskell ? ['_initialize'] : INITIALISERS)
      if (isHaskell) initialise(invocation, guest, [HASKELL_START], 2)
      const entry = engine.native.findFunction(guest.instance, fn.entrypoint)
      if (entry !== null) return new ExtismInstance(engine, guest, entry)
      throw new EdgefnError('function_load_failed', `The module does not export ${fn.entrypoint}.`)
    } catch (thrown) {
      invocation.discard(guest.instance)
      throw thrown
    }
  }

  /** Bytes of the plug-in's own memory now, and of its variables. */
  get memoryBytes(): number {
    this.#engine.host.memory.attach(this.guest.memory)
    return this.#engine.host.memory.bytes + this.#variables.bytes
  }

  warm(): void {}

  rewind(): void {
    this.#variables = new PluginVariables()
  }

  /** Runs one request. Throws EdgefnError: the plug-in's fault, the time limit, a malformed response. */
  handle(invocation: Invocation, request: GuestRequest): GuestResponse {
    const { context } = invocation
    const plugin = new PluginCall(kernelFor(context.fn, request.body), this.#variables)
    context.plugin = plugin
    let status: Uint8Array | null
    let headers: Uint8Array<ArrayBuffer> | null
    try {
      invocation.invoke(this.guest, this.#entry, this.#nothing, this.#result)
    } finally {
      status = this.#variables.take(STATUS_VARIABLE)
      headers = this.#variables.take(HEADERS_VARIABLE)
    }
    const result = this.#result.getI32(0)
    if (result !== 0 || plugin.error !== 0) throw pluginError(invocation, plugin, result)
    checkFieldBytes(headers?.length ?? 0)
    const { address, length } = plugin.output
    const body = length === 0 ? new Uint8Array(0) : plugin.kernel.read(address, length)
    return assembleResponse(readStatus(status), headers ?? new Uint8Array(0), body)
  }

  delete(): void {
    this.#engine.deleteInstance(this.guest.instance)
  }
}

/** The kernel's memory may grow as large as the plug-in's own, besides the body. */
function kernelFor(fn: WorkerFunction, body: Uint8Array): Kernel {
  return new Kernel(body, fn.memory_pages * PAGE_BYTES)
}

/** Logs the message that the plug-in left, which is not for its clients. */
function pluginError({ context }: Invocation, plugin: PluginCall, result: number): EdgefnError {
  const length = plugin.kernel.length(plugin.error)
  if (length > 0) context.log('error', plugin.kernel.block(plugin.error))
  const message = `The plug-in reported an error (${result}).`
  return new EdgefnError('function_error', message, { details: { result } })
}

function readStatus(bytes: Uint8Array | null): number | null {
  if (bytes === null) return null
  const text = Buffer.from(bytes.subarray(0, 20)).toString('latin1')
  if (/^[2-5]\d\d$/.test(text)) return Number(text)
  throw invalid(`The plug-in set ${STATUS_VARIABLE} to ${JSON.stringify(text)}, not 200 to 599.`)
}
