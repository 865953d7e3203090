/** What the tables of an instance take. */

import { MODULE_LIMITS } from './limits.ts'
import type { WasmModule } from './module.ts'

/** Bytes of one element in the engine. */
const elementBytes = 16

/** Bytes that the tables of one instance may come to: what they start with, unless the module can grow them. */
export function tableBytesMax({ tables, growsTables }: WasmModule): number {
  const elements = tables.reduce((sum, { min, max }) => {
    return sum + (growsTables ? (max ?? MODULE_LIMITS.tableElementsMax) : min)
  }, 0)
  return elements * elementBytes
}
