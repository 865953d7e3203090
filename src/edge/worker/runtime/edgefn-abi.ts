/** The edgefn ABI (DESIGN section 6.1): an instance that is kept, with one request and one response buffer inside the guest. */

import type { FunctionHandle } from '../../../../ffi/handles.ts'
import { EdgefnError } from '../../../errors.ts'
import { PAGE_BYTES } from '../../../protocol/limits.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestRequest, GuestResponse } from '../call.ts'
import { codeKey } from '../call.ts'
import { assembleResponse, LastHead, parseCgiResponse } from './cgi.ts'
import type { KeptInstance } from './abi-table.ts'
import type { Engine } from './engine.ts'
import { memoryLimit, WornInstance } from './guest-call.ts'
import { initialise, REACTOR_INITIALISERS } from './initialise.ts'
import type { Guest, Invocation } from './invocation.ts'

/** Bytes asked of the guest's `alloc` for a first request; doubled as requests need it, up to `requestBytesStep`. */
const requestBytesMin = 4096
/** Buffers over this size are a multiple of it: doubled, the largest body would not fit into the largest memory. */
const requestBytesStep = 1024 * 1024
/** Bytes of the response buffer, for guests with memory for it. */
const responseBytesMax = PAGE_BYTES

interface Buffer {
  readonly at: number
  readonly capacity: number
}

export class EdgefnInstance implements KeptInstance {
  readonly guest: Guest
  readonly #engine: Engine
  readonly #entry: FunctionHandle
  readonly #alloc: FunctionHandle
  /** A function tends to answer with the same header lines again and again. */
  readonly #lastHead = new LastHead()
  #request: Buffer = { at: 0, capacity: 0 }
  #response: Buffer = { at: 0, capacity: 0 }
  #warmRequest: Buffer = { at: 0, capacity: 0 }
  /** Whether it has been given a request. */
  #served = false

  private constructor(engine: Engine, guest: Guest, entry: FunctionHandle, alloc: FunctionHandle) {
    this.#engine = engine
    this.guest = guest
    this.#entry = entry
    this.#alloc = alloc
  }

  /** Instantiates and initialises a loaded module. Throws EdgefnError; nothing is left behind then. */
  static create(invocation: Invocation, fn: WorkerFunction): EdgefnInstance {
    const { engine } = invocation
    const guest = invocation.instantiate(codeKey(fn))
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

  get memoryBytes(): number {
    this.#engine.host.memory.attach(this.guest.memory)
    return this.#engine.host.memory.bytes
  }

  /** Asks the guest for its response buffer, before there is a request; for both, if they are asked for once and for all. */
  warm(invocation: Invocation): void {
    this.#allocateBuffers(invocation, invocation.context.fn.isolation === 'request' ? 1 : 0)
    this.#warmRequest = this.#request
  }

  rewind(): void {
    this.#request = this.#warmRequest
  }

  #allocateBuffers(invocation: Invocation, requestBytes: number): void {
    const pages = invocation.context.fn.memory_pages
    if (this.#request.capacity < requestBytes) {
      this.#request = this.#enlarge(invocation, requestCapacity(requestBytes))
    }
    if (this.#response.capacity === 0) {
      const capacity = Math.min(responseBytesMax, (pages * PAGE_BYTES) / 8)
      this.#response = this.#allocate(invocation, capacity)
    }
  }

  /** Throws WornInstance where what went before may be why there is no memory. */
  #enlarge(invocation: Invocation, capacity: number): Buffer {
    try {
      return this.#allocate(invocation, capacity)
    } catch (thrown) {
      const lacksMemory = thrown instanceof EdgefnError && thrown.code === 'memory_limit'
      if (!lacksMemory || !this.#served || invocation.context.end !== null) throw thrown
      throw new WornInstance('The instance has no memory left for the request.', { cause: thrown })
    }
  }

  /** Runs one request. Throws EdgefnError: the guest's fault, the time limit, a malformed response; or WornInstance. */
  handle(invocation: Invocation, request: GuestRequest): GuestResponse {
    const { scratch, values } = this.#engine
    const { method, target, header_lines, body } = request
    // Method and target are ASCII (`ingress/request.ts`); what fields take in UTF-8 is known when all is written.
    const textBytes = scratch.encode(method + target + header_lines)
    const headerBytes = textBytes - method.length - target.length
    this.#allocateBuffers(invocation, textBytes + body.length)
    this.#served = true
    const { memory } = this.#engine.host
    memory.attach(this.guest.memory)
    const { at } = this.#request
    memory.writePart(at, scratch.bytes, textBytes)
    if (body.length > 0) memory.writeBytes(at + textBytes, body)
    const parameters = values.handle
    parameters.setI32(0, at)
    parameters.setI32(1, method.length)
    parameters.setI32(2, at + method.length)
    parameters.setI32(3, target.length)
    parameters.setI32(4, at + method.length + target.length)
    parameters.setI32(5, headerBytes)
    parameters.setI32(6, at + textBytes)
    parameters.setI32(7, body.length)
    parameters.setI32(8, this.#response.at)
    parameters.setI32(9, this.#response.capacity)
    invocation.invoke(this.guest, this.#entry, parameters, values.result)
    return this.#readResponse(invocation, values.result.getI32(0))
  }

  delete(): void {
    this.#engine.deleteInstance(this.guest.instance)
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
    const { scratch, host } = this.#engine
    const { at } = this.#response
    const headBytes = this.#lastHead.length
    if (headBytes > 0 && headBytes <= length) {
      host.memory.readInto(scratch.bytes, at, headBytes)
      if (this.#lastHead.begins(scratch.bytes)) {
        return this.#lastHead.response(host.memory.readBytes(at + headBytes, length - headBytes))
      }
    }
    return this.#lastHead.parse(host.memory.readBytes(at, length))
  }

  #allocate(invocation: Invocation, capacity: number): Buffer {
    const { one, result } = this.#engine.values
    one.setI32(0, capacity)
    invocation.invoke(this.guest, this.#alloc, one, result)
    const at = result.getI32(0) >>> 0
    const { bytes } = this.#engine.host.memory
    if (at === 0) throw memoryLimit(invocation.context.fn.memory_pages)
    if (at + capacity > bytes) {
      const message = `alloc(${capacity}) returned ${at}, but the memory ends at ${bytes} and alloc did not grow it.`
      throw new EdgefnError('memory_limit', message)
    }
    return { at, capacity }
  }
}

/** Bytes of a buffer for requests of `bytes` bytes. */
function requestCapacity(bytes: number): number {
  if (bytes > requestBytesStep) return Math.ceil(bytes / requestBytesStep) * requestBytesStep
  return Math.max(requestBytesMin, 2 ** Math.ceil(Math.log2(bytes + 1)))
}
