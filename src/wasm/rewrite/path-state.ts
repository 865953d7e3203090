/**
 * What has been done since a function was entered, on every way that leads to the instruction at hand. Nothing that was done
 * is undone again, so behind a block at least that holds which held before it.
 */

import { MODULE_LIMITS } from '../limits.ts'
import { OPCODE } from '../opcodes.ts'

/** Used for one body after the other, so that nothing is allocated for each. */
export class PathState {
  /** Whether there was a poll. */
  polled = false
  /** Bytes of stack that were found to be left, besides what was taken. */
  bytesLeft = 0
  readonly #loops = new Uint8Array(MODULE_LIMITS.nestingMax + 1)
  readonly #polled = new Uint8Array(MODULE_LIMITS.nestingMax + 1)
  readonly #bytesLeft = new Float64Array(MODULE_LIMITS.nestingMax + 1)

  begin(): void {
    this.polled = false
    this.bytesLeft = 0
  }

  /** Takes an instruction; `depth` are the blocks open behind it. */
  step(opcode: number, depth: number): void {
    switch (opcode) {
      case OPCODE.block:
      case OPCODE.loop:
      case OPCODE.if:
        this.#loops[depth] = opcode === OPCODE.loop ? 1 : 0
        this.#polled[depth] = this.polled ? 1 : 0
        this.#bytesLeft[depth] = this.bytesLeft
        break
      case OPCODE.else:
        this.#return(depth)
        break
      case OPCODE.end:
        // Nobody comes to the end of a loop but from within: a branch to it leads to its head.
        if (this.#loops[depth + 1] === 0) this.#return(depth + 1)
    }
  }

  /** Back to what held before the block at this depth. */
  #return(depth: number): void {
    this.polled = this.#polled[depth] === 1
    this.bytesLeft = this.#bytesLeft[depth] ?? 0
  }
}
