/** The native code that libwasmedge's compiler puts into a module, as far as edgefn looks at it: where functions begin, unwind tables. */

import { Reader } from '../../wasm/reader.ts'

/** Name of the custom section that holds it. */
const SECTION_NAME = 'wasmedge'
/** Kinds of its sections that are looked at. */
const TEXT = 1
const EH_FRAME = 4

export interface NativeSection {
  /** Where the section's first byte comes to lie. */
  readonly address: number
  readonly bytes: Uint8Array
}

export interface NativeCode {
  /** Addresses of the functions that the module defines, in their order. */
  readonly functions: readonly number[]
  readonly text: NativeSection
  /** `.eh_frame`: how to unwind each function, hence what it takes of the stack. */
  readonly unwind: NativeSection
  /** `x86-64` is 1, `aarch64` is 2. */
  readonly architecture: number
}

/** Reads the native code of a compiled module. Throws when it is not laid out as libwasmedge 0.14 to 0.17 do. */
export function readNativeCode(module: Uint8Array): NativeCode {
  const reader = new Reader(module, 8, module.length, 'compiled module')
  while (reader.left > 0) {
    const id = reader.u8()
    const size = reader.u32()
    const end = reader.at + size
    if (id === 0) {
      const content = new Reader(module, reader.at, end, 'custom section')
      if (content.name() === SECTION_NAME) return readSection(content)
    }
    reader.skip(size)
  }
  throw new Error('The compiled module has no native code.')
}

/** Version, system, architecture, two addresses, addresses of types and functions, then the sections. */
function readSection(reader: Reader): NativeCode {
  reader.u32()
  reader.u8()
  const architecture = reader.u8()
  reader.u32()
  reader.u32()
  readAddresses(reader)
  const functions = readAddresses(reader)
  let text: NativeSection | null = null
  let unwind: NativeSection | null = null
  for (let left = reader.u32(); left > 0; left -= 1) {
    const kind = reader.u8()
    const address = reader.u32()
    reader.u32()
    const length = reader.u32()
    const start = reader.at
    reader.skip(length)
    const section = { address, bytes: reader.bytes.subarray(start, reader.at) }
    if (kind === TEXT) text = section
    else if (kind === EH_FRAME) unwind = section
  }
  if (text === null || unwind === null) {
    throw new Error('The compiled module lacks code or unwind tables.')
  }
  return { functions, text, unwind, architecture }
}

function readAddresses(reader: Reader): number[] {
  const count = reader.count(Number.MAX_SAFE_INTEGER, 'addresses')
  return Array.from({ length: count }, () => reader.u32())
}
