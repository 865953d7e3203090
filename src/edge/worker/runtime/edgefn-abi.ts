/** The edgefn ABI (DESIGN section 6.1): an instance that is kept, with one request and one response buffer inside the guest. */

import type { FunctionHandle } from '../../../../ffi/handles.ts'
import { ValueArray } from '../../../../ffi/values.ts'
import { EdgefnError } from '../../../errors.ts'
import { PAGE_BYTES } from '../../../protocol/limits.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestRequest, GuestResponse } from '../call.ts'
import { poolKey } from '../call.ts'
import { assembleResponse, parseCgiResponse } from './cgi.ts'
import type { KeptInstance } from './abi-table.ts'
import type { Engine } from './engine.ts'
import { memoryLimit } from './guest-call.ts'
import { initialise, REACTOR_INITIALISERS } from './initialise.ts'
import type { Guest, Invocation } from './invocation.ts'

/** Bytes asked of the guest's `alloc` for a first request; doubled as requests need it, up to `requestBytesStep`. */
const requestBytesMin = 4096
/** Buffers over this size are a multiple of it: doubled, the largest body would not fit into the largest memory. */
const requestBytesStep = 1024 * 1024
/** Bytes of the response buffer, for guests with memory for it. */
const responseBytesMax = PAGE_BYTES

const encoder = new TextEncoder()

interface Buffer {
  readonly at: number
  readonly capacity: number
}

export class EdgefnInstance implements KeptInstance {
  readonly #engine: Engine
  readonly #guest: Guest
  readonly #entry: FunctionHandle
  readonly #alloc: FunctionHandle
  readonly #handleParameters: ValueArray
  readonly #allocParameters: ValueArray
  readonly #result: ValueArray
  #request: Buffer = { at: 0, capacity: 0 }
  #response: Buffer = { at: 0, capacity: 0 }

  private constructor(engine: Engine, guest: Guest, entry: FunctionHandle, alloc: FunctionHandle) {
    this.#engine = engine
    this.#guest = guest
    this.#entry = entry
    this.#alloc = alloc
    this.#handleParameters = new ValueArray(engine.types, Array<'i32'>(10).fill('i32'))
    this.#allocParameters = new ValueArray(engine.types, ['i32'])
    this.#result = new ValueArray(engine.types, ['i32'])
  }

  /** Instantiates and initialises a loaded module. Throws EdgefnError; nothing is left behind then. */
  static create(invocation: Invocation, fn: WorkerFunction): EdgefnInstance {
    const { engine } = invocation
    const guest = invocation.instantiate(poolKey(fn))
    const { instance } = guest
    try {
      initialise(invocation, guest, REACTOR_INITIALISERS)
      const entry = engine.native.findFunction(instance, fn.entrypoint)
      const alloc = engine.native.findFunction(instance, 'alloc')
      if (entry === null || alloc === null) {
        const missing = entry === null ? fn.entrypoint : 'alloc'
        throw new EdgefnError('function_load_failed', `The module does not export ${missing}.`)
      }
      return new EdgefnInstance(engine, guest, entry, alloc)
    } catch (thrown) {
      invocation.discard(instance)
      throw thrown
    }
  }

  /** Bytes of linear memory now. */
  get memoryBytes(): number {
    this.#engine.host.memory.attach(this.#guest.memory)
    return this.#engine.host.memory.bytes
  }

  /** Asks the guest for its response buffer, before there is a request. */
  warm(invocation: Invocation): void {
    this.#allocateBuffers(invocation, 0)
  }

  #allocateBuffers(invocation: Invocation, requestBytes: number): void {
    const pages = invocation.context.fn.memory_pages
    if (this.#request.capacity < requestBytes) {
      this.#request = this.#allocate(invocation, requestCapacity(requestBytes))
    }
    if (this.#response.capacity === 0) {
      const capacity = Math.min(responseBytesMax, (pages * PAGE_BYTES) / 8)
      this.#response = this.#allocate(invocation, capacity)
    }
  }

  /** Runs one request. Throws EdgefnError: the guest's fault, the time limit, a malformed response. */
  handle(invocation: Invocation, request: GuestRequest): GuestResponse {
    const pieces = [
      encoder.encode(request.method),
      encoder.encode(request.target),
      encoder.encode(request.headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')),
      request.body,
    ]
    this.#allocateBuffers(
      invocation,
      pieces.reduce((sum, piece) => sum + piece.length, 0),
    )
    this.#engine.host.memory.attach(this.#guest.memory)
    let at = this.#request.at
    pieces.forEach((piece, index) => {
      this.#engine.host.memory.writeBytes(at, piece)
      this.#handleParameters.setI32(index * 2, at)
      this.#handleParameters.setI32(index * 2 + 1, piece.length)
      at += piece.length
    })
    this.#handleParameters.setI32(8, this.#response.at)
    this.#handleParameters.setI32(9, this.#response.capacity)
    this.#run(invocation, this.#entry, this.#handleParameters)
    return this.#readResponse(invocation, this.#result.getI32(0))
  }

  delete(): void {
    this.#engine.deleteInstance(this.#guest.instance)
  }

  #readResponse(invocation: Invocation, length: number): GuestResponse {
    const { context } = invocation
    if (length < 0) {
      const message = `The function returned the error ${length}.`
      throw new EdgefnError('function_error', message, { details: { result: length } })
    }
    if (length > this.#response.capacity) {
      const message = `The function returned ${length} for a response buffer of ${this.#response.capacity} bytes.`
      throw new EdgefnError('invalid_response', message)
    }
    if (context.head !== null) {
      return assembleResponse(context.head.status, context.head.lines, context.takeOutput())
    }
    if (context.hasOutput) return parseCgiResponse(context.takeOutput())
    return parseCgiResponse(this.#engine.host.memory.readBytes(this.#response.at, length))
  }

  #allocate(invocation: Invocation, capacity: number): Buffer {
    this.#allocParameters.setI32(0, capacity)
    this.#run(invocation, this.#alloc, this.#allocParameters)
    const at = this.#result.getI32(0) >>> 0
    const { bytes } = this.#engine.host.memory
    if (at === 0) throw memoryLimit(invocation.context.fn.memory_pages)
    if (at + capacity > bytes) {
      const message = `alloc(${capacity}) returned ${at}, but the memory ends at ${bytes} and alloc did not grow it.`
      throw new EdgefnError('memory_limit', message)
    }
    return { at, capacity }
  }

  #run(invocation: Invocation, fn: FunctionHandle, parameters: ValueArray): void {
    invocation.invoke(this.#guest, fn, parameters, this.#result)
  }
}

/** Bytes of a buffer for requests of `bytes` bytes. */
function requestCapacity(bytes: number): number {
  if (bytes > requestBytesStep) return Math.ceil(bytes / requestBytesStep) * requestBytesStep
  return Math.max(requestBytesMin, 2 ** Math.ceil(Math.log2(bytes + 1)))
}
