/**
 * Regular expressions over request paths in linear time: a Thompson automaton, run through a lazily built and bounded
 * deterministic one. Patterns come from strangers, so JavaScript's backtracking RegExp is never given one.
 */

import { EdgefnError } from '../errors.ts'
import {
  onlySymbol,
  type PatternNode,
  parsePattern,
  SYMBOL_OTHER,
  SYMBOLS,
  type SymbolSet,
} from './pattern-parse.ts'

/** States a pattern may expand to, bounded repeats written out. */
const statesMax = 2000
/** Deterministic states kept; when they are full, all are forgotten and built again as needed. */
const cachedStatesMax = 256

export interface Pattern {
  readonly source: string
  /** What every matching path begins with. */
  readonly literal: string
  /** Whether that is all, so that no other path matches. */
  readonly isLiteral: boolean
  /** Whether the whole of `path` matches. O(length of the path × size of the pattern), usually O(length). */
  test(path: string): boolean
  /** Elementary steps of all calls of `test` so far, for tests of the bound. */
  steps(): number
}

/** The automaton: state n consumes a symbol of set `sets[n]` and goes to `next[n]`, or (-1) forks, or (-2) accepts. */
interface Automaton {
  readonly sets: number[]
  readonly next: number[]
  readonly other: number[]
  start: number
}

const FORK = -1
const ACCEPT = -2

/** A deterministic state: the automaton states it stands for, and where each class of symbols leads. */
interface Step {
  readonly states: readonly number[]
  readonly accepts: boolean
  readonly to: (Step | undefined)[]
}

/** Automata by the pattern they were made from, so that routes which differ in what they begin with share one. */
export type Matchers = Map<string, Matcher>

/**
 * Compiles a route pattern, anchored over the whole path; a `^` at the start and a `$` at the end change nothing.
 * Throws EdgefnError `invalid_field` naming the position and what is wrong, or that the pattern expands too far.
 */
export function compilePattern(source: string, matchers: Matchers = new Map()): Pattern {
  const tree = parsePattern(source)
  const size = expandedSize(tree)
  if (size > statesMax) {
    throw new EdgefnError(
      'invalid_field',
      `The pattern expands to ${size} states; at most ${statesMax} are allowed: lower its repeat counts.`,
    )
  }
  return new LazyPattern(source, literalOf(source, tree), matchers)
}

/** A pattern known to be valid. An automaton takes some 10 KiB, so it is built when a path is tested first. */
class LazyPattern implements Pattern {
  readonly source: string
  readonly literal: string
  readonly isLiteral: boolean
  readonly #rest: string
  readonly #matchers: Matchers
  #matcher: Matcher | null = null

  constructor(source: string, { text, rest }: Literal, matchers: Matchers) {
    this.source = source
    this.literal = text
    this.isLiteral = rest === '' || rest === '$'
    this.#rest = rest
    this.#matchers = matchers
  }

  test(path: string): boolean {
    if (!path.startsWith(this.literal)) return false
    this.#matcher ??= this.#known()
    return this.#matcher.test(path, this.literal.length)
  }

  steps(): number {
    return this.#matcher?.steps ?? 0
  }

  #known(): Matcher {
    const known = this.#matchers.get(this.#rest)
    if (known !== undefined) return known
    const sets: SymbolSet[] = []
    const matcher = new Matcher(buildAutomaton(parsePattern(this.#rest), sets), sets)
    this.#matchers.set(this.#rest, matcher)
    return matcher
  }
}

interface Literal {
  readonly text: string
  /** The pattern of what comes after it. */
  readonly rest: string
}

/** Takes from a pattern the characters that it begins with. */
function literalOf(source: string, tree: PatternNode): Literal {
  let at = source.startsWith('^') ? 1 : 0
  let text = ''
  for (const item of tree.kind === 'sequence' ? tree.items : []) {
    const symbol = item.kind === 'set' && source[at] !== '[' ? onlySymbol(item.set) : null
    if (symbol === null) break
    text += String.fromCharCode(symbol)
    at += source[at] === '\\' ? 2 : 1
  }
  return { text, rest: source.slice(at) }
}

/** Never 0, or repeats of nothing inside repeats of nothing would cost without counting. */
function expandedSize(node: PatternNode): number {
  if (node.kind === 'set') return 1
  if (node.kind === 'repeat') {
    const item = expandedSize(node.item)
    if (node.max === Infinity) return Math.max(node.min, 1) * item + 1
    return node.min * item + (node.max - node.min) * (item + 1)
  }
  const forks = node.kind === 'choice' ? node.items.length - 1 : 0
  return Math.max(
    node.items.reduce((sum, item) => sum + expandedSize(item), forks),
    1,
  )
}

/** Builds from the end to the start: each part is given the state that follows it. */
function buildAutomaton(tree: PatternNode, sets: SymbolSet[]): Automaton {
  const automaton: Automaton = { sets: [], next: [], other: [], start: 0 }
  const setIndex = new Map<SymbolSet, number>()

  function state(set: number, next: number, other = -1): number {
    automaton.next.push(next)
    automaton.other.push(other)
    return automaton.sets.push(set) - 1
  }

  /** Sets of one character are the same object wherever it occurs. */
  function setNumber(set: SymbolSet): number {
    const known = setIndex.get(set)
    if (known !== undefined) return known
    const index = sets.push(set) - 1
    setIndex.set(set, index)
    return index
  }

  function emit(node: PatternNode, after: number): number {
    switch (node.kind) {
      case 'set':
        return state(setNumber(node.set), after)
      case 'sequence':
        return node.items.reduceRight((next, item) => emit(item, next), after)
      case 'choice':
        return node.items
          .map((item) => emit(item, after))
          .reduceRight((right, left) => state(FORK, left, right))
      case 'repeat':
        return emitRepeat(node.item, node.min, node.max, after)
    }
  }

  function emitRepeat(item: PatternNode, min: number, max: number, after: number): number {
    let entry = after
    let copies = min
    if (max === Infinity) {
      const loop = state(FORK, -1, after)
      const body = emit(item, loop)
      automaton.next[loop] = body
      entry = min === 0 ? loop : body
      copies = Math.max(min - 1, 0)
    } else {
      // x{0,2} is (x(x)?)?: each optional copy may skip to the end.
      for (let n = min; n < max; n += 1) entry = state(FORK, emit(item, entry), after)
    }
    for (let n = 0; n < copies; n += 1) entry = emit(item, entry)
    return entry
  }

  automaton.start = emit(tree, state(ACCEPT, -1))
  return automaton
}

/** Numbers the symbols so that two symbols which no set tells apart share a class: each set splits the classes so far in two. */
function symbolClasses(sets: readonly SymbolSet[]): { classOf: Uint8Array; members: number[] } {
  const classOf = new Uint8Array(SYMBOLS)
  let members = [0]
  // By class so far, times two, plus whether the symbol is in the set.
  const split = new Int16Array(2 * SYMBOLS)
  for (const set of sets) {
    split.fill(-1)
    members = []
    for (let symbol = 0; symbol < SYMBOLS; symbol += 1) {
      const half = 2 * (classOf[symbol] ?? 0) + (set[symbol] ?? 0)
      if (split[half] === -1) split[half] = members.push(symbol) - 1
      classOf[symbol] = split[half] ?? 0
    }
  }
  return { classOf, members }
}

/** Runs an automaton. */
class Matcher {
  steps = 0
  readonly #automaton: Automaton
  readonly #sets: readonly SymbolSet[]
  readonly #classOf: Uint8Array
  /** A symbol of each class, to stand for it. */
  readonly #members: readonly number[]
  /** Generation in which an automaton state was last added to the set being built. */
  readonly #seen: Uint32Array
  #generation = 0
  readonly #cache = new Map<string, Step>()
  #first: Step

  constructor(automaton: Automaton, sets: readonly SymbolSet[]) {
    const { classOf, members } = symbolClasses(sets)
    this.#automaton = automaton
    this.#sets = sets
    this.#classOf = classOf
    this.#members = members
    this.#seen = new Uint32Array(automaton.sets.length)
    this.#first = this.#step([automaton.start])
  }

  /** Whether what begins at index `from` of `path` matches. */
  test(path: string, from: number): boolean {
    let step = this.#first
    for (let at = from; at < path.length; at += 1) {
      const symbol = path.charCodeAt(at)
      const symbolClass = this.#classOf[symbol < SYMBOL_OTHER ? symbol : SYMBOL_OTHER] ?? 0
      step = step.to[symbolClass] ?? this.#advance(step, symbolClass)
      if (step.states.length === 0 && !step.accepts) {
        this.steps += at + 1 - from
        return false
      }
    }
    this.steps += path.length - from
    return step.accepts
  }

  #advance(step: Step, symbolClass: number): Step {
    const symbol = this.#members[symbolClass] ?? 0
    const targets: number[] = []
    for (const state of step.states) {
      this.steps += 1
      const set = this.#sets[this.#automaton.sets[state] ?? 0]
      if (set?.[symbol] === 1) targets.push(this.#automaton.next[state] ?? 0)
    }
    const reached = this.#step(targets)
    step.to[symbolClass] = reached
    return reached
  }

  /** The deterministic state for `entries` and all that forks lead to. Each automaton state is visited once. */
  #step(entries: readonly number[]): Step {
    if (this.#generation === 0xffff_ffff) {
      this.#seen.fill(0)
      this.#generation = 0
    }
    this.#generation += 1
    const open = [...entries]
    const states: number[] = []
    let accepts = false
    for (let state = open.pop(); state !== undefined; state = open.pop()) {
      this.steps += 1
      if (this.#seen[state] === this.#generation) continue
      this.#seen[state] = this.#generation
      const set = this.#automaton.sets[state] ?? 0
      if (set === ACCEPT) accepts = true
      else if (set !== FORK) states.push(state)
      else open.push(this.#automaton.other[state] ?? 0, this.#automaton.next[state] ?? 0)
    }
    return this.#keep(states, accepts)
  }

  #keep(states: number[], accepts: boolean): Step {
    states.sort((a, b) => a - b)
    const key = `${accepts ? 'a' : ''}${states.join(',')}`
    const known = this.#cache.get(key)
    if (known !== undefined) return known
    const step: Step = { states, accepts, to: [] }
    if (this.#cache.size >= cachedStatesMax) this.#forget()
    this.#cache.set(key, step)
    return step
  }

  /** Lets go of every deterministic state but the first, which starts with no way out of it again. */
  #forget(): void {
    this.#cache.clear()
    this.#first = { states: this.#first.states, accepts: this.#first.accepts, to: [] }
  }
}
