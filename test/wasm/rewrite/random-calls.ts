/**
 * Random programs that do little else than call: directly, through a table, in branches and loops, with frames of many sizes.
 * The host hears of every entry and exit of a function.
 */

import { below, pick, randomOf } from '../../fuzz/random.ts'

/** Imported functions by their index; `poll` is called by nobody, until a test puts it in place of polls. */
export const POLL_FUNCTION = 0

/** Text of the program of a seed. Its exports, `f0` and some more, take nothing and give an i32. */
export function randomCalls(seed: number): string {
  return new Program(randomOf(seed)).text()
}

/** Calls that may be begun; behind them every function returns at once. */
const fuel = 60_000
const paramCounts = [0, 0, 1, 3, 7]
/** How deep calls go before they return at once: so little that they branch out, or more than there is stack for. */
const depths = [6, 12, 20, 10_000]

interface Plan {
  readonly params: number
  readonly inTable: boolean
}

class Program {
  readonly #random: () => number
  readonly #functions: readonly Plan[]
  /** How likely a call is to lead to a function that comes later, so that some programs have few cycles, others many. */
  readonly #forward: number
  readonly #depthMax: number
  /** Callers in loops leave it to a function to take its frame, hence not every program has any. */
  readonly #loops: boolean

  constructor(random: () => number) {
    this.#random = random
    const tables = below(random, 3)
    this.#functions = Array.from({ length: 3 + below(random, 6) }, () => ({
      params: pick(random, paramCounts),
      inTable: tables > 0 && below(random, 4) < tables,
    }))
    this.#forward = below(random, 4)
    this.#depthMax = pick(random, depths)
    this.#loops = below(random, 2) === 0
  }

  text(): string {
    const inTable = [...this.#functions.keys()].filter((at) => this.#functions[at]?.inTable)
    const elements = inTable.map((at) => `$f${at}`)
    return `(module
      (import "host" "poll" (func $poll))
      (import "host" "step" (func $step (param i32)))
      (import "host" "ask" (func $ask (param i32) (result i32)))
      ${[0, 1, 3, 7].map((count) => `(type $t${count} (func ${params(count)} (result i32)))`).join('\n')}
      (memory (export "memory") 1)
      (global $fuel (mut i32) (i32.const ${fuel}))
      (global $depth (mut i32) (i32.const 0))
      (table $table 10 funcref)
      (elem (i32.const 0) ${elements.join(' ')} $ask)
      ${this.#functions[0]?.params === 0 ? '' : '(elem declare func $f0)'}
      ${this.#functions.map((plan, at) => this.#function(plan, at)).join('\n')})`
  }

  #function({ params: count }: Plan, at: number): string {
    const locals = 'i64 '.repeat(pick(this.#random, [0, 0, 5, 60]))
    const named = at === 0 || (count === 0 && below(this.#random, 2) === 0)
    const exported = named && count === 0 ? `(export "f${at}")` : ''
    const entry =
      at === 0 && count > 0
        ? `(func (export "f0") (result i32) (call $f0 ${'(i32.const 3)'.repeat(count)}))`
        : ''
    return `(func $f${at} ${exported} (type $t${count}) (local $sum i32) (local $n i32) (local ${locals})
      (call $step (i32.const ${2 * at}))
      (if (i32.or (i32.eqz (global.get $fuel)) (i32.gt_u (global.get $depth) (i32.const ${this.#depthMax})))
        (then (return (i32.const 1))))
      (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))
      (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
      (local.set $sum ${count > 0 ? `(local.get ${below(this.#random, count)})` : '(global.get $fuel)'})
      ${this.#statements(0)}
      (call $step (i32.const ${2 * at + 1}))
      (global.set $depth (i32.sub (global.get $depth) (i32.const 1)))
      (local.get $sum)) ${entry}`
  }

  #statements(depth: number): string {
    const count = 1 + below(this.#random, depth === 0 ? 3 : 2)
    return Array.from({ length: count }, () => this.#statement(depth)).join('\n')
  }

  #statement(depth: number): string {
    const kind = below(this.#random, depth < 3 ? 9 : 4)
    const inner = () => this.#statements(depth + 1)
    switch (kind) {
      case 4:
        return `(if ${this.#condition()} (then ${inner()}))`
      case 5:
        return `(if ${this.#condition()} (then ${inner()}) (else ${inner()}))`
      case 6:
        return `(block (br_if 0 ${this.#condition()}) ${inner()})`
      case 7:
        if (!this.#loops) return inner()
        return `(local.set $n (i32.const ${1 + below(this.#random, 2)})) (loop ${inner()}
          (br_if 0 (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0))))`
      case 8:
        return below(this.#random, 2) === 0
          ? `(if ${this.#condition()} (then
            (global.set $depth (i32.sub (global.get $depth) (i32.const 1))) (return (local.get $sum))))`
          : `(table.set $table (i32.const ${below(this.#random, 8)}) (ref.func $f0))`
      default:
        return `(local.set $sum (i32.add (i32.rotl (local.get $sum) (i32.const 3)) ${this.#call()}))`
    }
  }

  #condition(): string {
    return `(i32.and (local.get $sum) (i32.const ${1 + below(this.#random, 3)}))`
  }

  #call(): string {
    const inTable = this.#functions.filter((plan) => plan.inTable)
    if (inTable.length > 0 && below(this.#random, 3) === 0) {
      const count = pick(this.#random, [1, pick(this.#random, inTable).params])
      // Some of these trap, because the element is empty or of another type.
      return `(call_indirect (type $t${count}) ${this.#args(count)}
        (i32.rem_u (local.get $sum) (i32.const ${inTable.length + 1})))`
    }
    if (below(this.#random, 8) === 0) return '(call $ask (local.get $sum))'
    const all = this.#functions
    const from = below(this.#random, 4) < this.#forward ? all.length >> 1 : 0
    const callee = from + below(this.#random, all.length - from)
    return `(call $f${callee} ${this.#args(all[callee]?.params ?? 0)})`
  }

  #args(count: number): string {
    return '(i32.add (local.get $sum) (i32.const 1))'.repeat(count)
  }
}

function params(count: number): string {
  return count === 0 ? '' : `(param ${'i32 '.repeat(count)})`
}
