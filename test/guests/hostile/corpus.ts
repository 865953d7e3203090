/** The hostile corpus: every guest that somebody thought of, one class of attack each. */

import { ABIS } from './abis.ts'
import { CALLS } from './calls.ts'
import { ENDINGS } from './endings.ts'
import type { HostileGuest } from './guest.ts'
import { LOOPS } from './loops.ts'
import { MEMORIES } from './memory.ts'
import { RESPONSES } from './responses.ts'
import { SHAPES } from './shapes.ts'
import { STACK } from './stack.ts'

export const CORPUS: readonly HostileGuest[] = [
  ...LOOPS,
  ...STACK,
  ...MEMORIES,
  ...ENDINGS,
  ...RESPONSES,
  ...CALLS,
  ...SHAPES,
  ...ABIS,
]

/** Those whose code matters, and that get as far as being compiled. */
export const COMPILED_CORPUS: readonly HostileGuest[] = [
  ...LOOPS,
  ...STACK,
  ...MEMORIES,
  ...ENDINGS,
].filter(({ expects }) => expects.outcome === 'fails' || expects.outcome === 'answers')
