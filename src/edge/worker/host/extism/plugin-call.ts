/** One call of an Extism plug-in as its host functions see it: kernel memory, variables, configuration, outcome. */

import type { GuestRequest } from '../../call.ts'
import { headerField, headerFields } from '../../header-lines.ts'
import type { ResponseStart } from '../whole-fetch.ts'
import type { Kernel } from './kernel.ts'

/** Bytes of the names and values that a plug-in keeps from call to call; what the Extism runtime allows by default. */
const variableBytesMax = 1024 * 1024
/** Every variable counts so much besides. */
const variableBytesOverhead = 64

/** What a plug-in keeps from call to call, for as long as its instance lives. */
export class PluginVariables {
  readonly #values = new Map<string, Uint8Array<ArrayBuffer>>()
  #bytes = 0

  /** What they take, names and all. */
  get bytes(): number {
    return this.#bytes
  }

  get(name: string): Uint8Array<ArrayBuffer> | null {
    return this.#values.get(name) ?? null
  }

  /** False, and nothing changed, when there is no room. */
  set(name: string, value: Uint8Array<ArrayBuffer>): boolean {
    const before = this.#values.get(name)
    const bytes = this.#bytes - sizeOf(name, before) + sizeOf(name, value)
    if (bytes > variableBytesMax) return false
    this.#values.set(name, value)
    this.#bytes = bytes
    return true
  }

  /** Removes a variable and gives its value. */
  take(name: string): Uint8Array<ArrayBuffer> | null {
    const value = this.get(name)
    this.#values.delete(name)
    this.#bytes -= sizeOf(name, value ?? undefined)
    return value
  }
}

function sizeOf(name: string, value: Uint8Array | undefined): number {
  return value === undefined ? 0 : variableBytesOverhead + 2 * name.length + value.length
}

export class PluginCall {
  readonly kernel: Kernel
  readonly variables: PluginVariables
  /** Where the plug-in says its output is. */
  output = { address: 0, length: 0 }
  /** Of the response to its last request. */
  http: ResponseStart = { status: 0, headers: [] }
  /** Address of the block with its error message; 0 for none. */
  error = 0

  constructor(kernel: Kernel, variables: PluginVariables) {
    this.kernel = kernel
    this.variables = variables
  }
}

/** What `config_get` knows of a request, besides the version's variables; docs/GUEST-ABI.md lists the names. */
export function requestConfig(request: GuestRequest, name: string): string | undefined {
  const field = /^http\.header\.(.+)$/.exec(name)?.[1]?.toLowerCase()
  if (field !== undefined) return headerField(request.header_lines, field)
  const mark = request.target.indexOf('?')
  switch (name) {
    case 'http.method':
      return request.method
    case 'http.path':
      return mark < 0 ? request.target : request.target.slice(0, mark)
    case 'http.query':
      return mark < 0 ? '' : request.target.slice(mark + 1)
    case 'http.headers':
      return JSON.stringify(Object.fromEntries(headerFields(request.header_lines)))
    case 'http.request_id':
      return request.request_id
    default:
      return undefined
  }
}
