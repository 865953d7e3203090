/**
 * Stop points: places in a body where the interpreter looks at its stop token. By itself it looks at every branch that is
 * taken and at every call (DESIGN section 3), so that a row of long operations would run past any order to stop.
 */

import { OPCODE, PREFIX } from '../opcodes.ts'

/** `block br 0 end`: a branch that leads nowhere. Fits wherever an instruction may stand, and leaves the stack alone. */
export const STOP_POINT = Uint8Array.of(0x02, 0x40, 0x0c, 0x00, 0x0b)

/** Numbers of the bulk operations on memories and tables, behind their prefix, begin here. */
const bulkMin = 8

/** Whether one instruction can take as long as a whole memory or table is large; a stop point goes before each. */
export function takesLong(opcode: number): boolean {
  return opcode === OPCODE.memoryGrow || (opcode >> 8 === PREFIX.bulk && (opcode & 0xff) >= bulkMin)
}
