/**
 * The records of what a node serves. A version of a function is an arm: it has statistics, a breaker and a verdict of its own,
 * so that versions that serve side by side are told apart. Quotas are the function's, whatever its versions.
 */

import { LIMITS } from '../../../protocol/limits.ts'
import type { StatsFile } from '../../stats.ts'
import { Tally } from '../../stats.ts'
import { artifactKey } from '../node-state.ts'
import { SlotTable } from './slots.ts'

export interface Arm {
  readonly function_id: string
  readonly version: number
}

/** Where a version's calls are counted: its own record, and that of its function's quotas. */
export interface ArmSlots {
  readonly slot: number
  readonly quota_slot: number
}

export interface ArmsDeps {
  readonly stats: readonly StatsFile[]
  /** Records of a file; `armsMax` unless told otherwise. */
  readonly slots_max?: number
  /** Zeroes an arm's record everywhere; what its statistics say has been added to its function's past. */
  clearSlot(slot: number): void
  clearQuotaSlot(slot: number): void
  /** An arm has a slot from now on; told before anybody else is. */
  taken(arm: Arm, slot: number): void
  /** An arm's record is about to be cleared. */
  leaving(arm: Arm, slot: number): void
}

export class Arms {
  readonly #deps: ArmsDeps
  readonly #arms: SlotTable
  readonly #functions: SlotTable
  /** Slots in which calls of each function were counted: of arms that serve, and of those that did. */
  readonly #slotsOf = new Map<string, Set<number>>()
  /** What arms of a function counted whose slots belong to others now, so that its sums never step back [P16]. */
  readonly #past = new Map<string, Tally>()

  constructor(deps: ArmsDeps) {
    this.#deps = deps
    this.#arms = new SlotTable({
      slots_max: deps.slots_max ?? LIMITS.armsMax,
      clear: (slot, key) => this.#leave(slot, armOf(key)),
      taken: (key, slot) => this.#taken(armOf(key), slot),
    })
    this.#functions = new SlotTable({
      slots_max: LIMITS.functionsMax,
      clear: (slot) => deps.clearQuotaSlot(slot),
    })
  }

  /** The slots of an arm, given on first use; null when the node holds all that it may. */
  take(arm: Arm): ArmSlots | null {
    const quota_slot = this.#functions.take(arm.function_id)
    const slot = quota_slot === null ? null : this.#arms.take(artifactKey(arm))
    return slot === null || quota_slot === null ? null : { slot, quota_slot }
  }

  /** The slots that an arm holds now. */
  find(arm: Arm): ArmSlots | null {
    const slot = this.#arms.find(artifactKey(arm))
    const quota_slot = this.#functions.find(arm.function_id)
    return slot === null || quota_slot === null ? null : { slot, quota_slot }
  }

  /** The arm that a slot belongs to, or did last. */
  armAt(slot: number): Arm | null {
    const key = this.#arms.keyOf(slot)
    return key === null ? null : armOf(key)
  }

  /** Frees the slots of all arms but these, given as `function_id/version`, and the functions without any. */
  keepOnly(keys: ReadonlySet<string>): void {
    this.#arms.keepOnly(keys)
    const functions = new Set<string>()
    for (const key of keys) functions.add(armOf(key).function_id)
    this.#functions.keepOnly(functions)
  }

  /** Arms that hold a slot now. */
  *entries(): Generator<readonly [Arm, number]> {
    for (const [key, slot] of this.#arms.entries()) yield [armOf(key), slot]
  }

  /** Every arm that has a slot, also those that left and whose slot nobody else has needed since. */
  *everSeen(): Generator<readonly [Arm, number]> {
    for (const slot of this.#arms.used()) {
      const arm = this.armAt(slot)
      if (arm !== null) yield [arm, slot]
    }
  }

  /** Functions of which an arm holds a slot now. */
  functionIds(): Set<string> {
    return new Set([...this.#functions.entries()].map(([functionId]) => functionId))
  }

  /** What was counted of a function, whichever versions it had. */
  tallyOf(functionId: string): Tally {
    const tally = new Tally().addPast(this.#past.get(functionId) ?? null)
    for (const slot of this.slotsOf(functionId)) tally.add(this.#deps.stats, slot)
    return tally
  }

  /** Slots of a function's arms, of those that left too. */
  slotsOf(functionId: string): Iterable<number> {
    return this.#slotsOf.get(functionId) ?? []
  }

  /** All slots that were ever given, those of arms that left included. */
  used(): number[] {
    return this.#arms.used()
  }

  /** The same of the functions' quotas. */
  usedQuotaSlots(): number[] {
    return this.#functions.used()
  }

  #taken(arm: Arm, slot: number): void {
    const slots = this.#slotsOf.get(arm.function_id)
    if (slots === undefined) this.#slotsOf.set(arm.function_id, new Set([slot]))
    else slots.add(slot)
    this.#deps.taken(arm, slot)
  }

  /** A function's past goes with the last of its records: nobody asks for its sums any more. */
  #leave(slot: number, arm: Arm): void {
    const { function_id } = arm
    const slots = this.#slotsOf.get(function_id)
    slots?.delete(slot)
    this.#deps.leaving(arm, slot)
    if (slots === undefined || slots.size === 0) {
      this.#slotsOf.delete(function_id)
      this.#past.delete(function_id)
    } else {
      const past = this.#past.get(function_id) ?? new Tally()
      this.#past.set(function_id, past.add(this.#deps.stats, slot).clearGauges())
    }
    this.#deps.clearSlot(slot)
  }
}

function armOf(key: string): Arm {
  const slash = key.lastIndexOf('/')
  return { function_id: key.slice(0, slash), version: Number(key.slice(slash + 1)) }
}
