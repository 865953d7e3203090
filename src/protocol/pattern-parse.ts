/** Syntax of route patterns: text → tree, with a named refusal for everything that is not regular or not wanted. */

import { EdgefnError } from '../errors.ts'
import { LIMITS } from './limits.ts'

/** Symbols 0–127 are ASCII; every other UTF-16 unit is this one symbol. Request paths are percent-encoded ASCII. */
export const SYMBOL_OTHER = 128
export const SYMBOLS = 129

/** A set of symbols: 1 at the index of each member. Not changed once it is in a tree, because equal ones are shared. */
export type SymbolSet = Uint8Array<ArrayBuffer>

export type PatternNode =
  | { readonly kind: 'set'; readonly set: SymbolSet }
  | { readonly kind: 'sequence'; readonly items: readonly PatternNode[] }
  | { readonly kind: 'choice'; readonly items: readonly PatternNode[] }
  | {
      readonly kind: 'repeat'
      readonly item: PatternNode
      readonly min: number
      readonly max: number
    }

/** Groups inside groups; bounds the recursion of the parser and of everything that walks the tree. */
const groupDepthMax = 50
/** Largest number inside `{}`. */
const repeatMax = 1000

const GROUP_REFUSALS: readonly (readonly [string, string])[] = [
  ['?=', 'lookahead is not supported'],
  ['?!', 'lookahead is not supported'],
  ['?<=', 'lookbehind is not supported'],
  ['?<!', 'lookbehind is not supported'],
  ['?<', 'named groups are not supported, write ( )'],
  ['?', 'inline flags are not supported'],
]

/** Parses a pattern. Throws EdgefnError `invalid_field` that names the position (from 0) and what is wrong there. */
export function parsePattern(source: string): PatternNode {
  if (source.length > LIMITS.routePathCharsMax) {
    throw new EdgefnError(
      'invalid_field',
      `The pattern has ${source.length} characters; at most ${LIMITS.routePathCharsMax} are allowed.`,
    )
  }
  return new PatternParser(source).parse()
}

class PatternParser {
  readonly #source: string
  #at = 0
  #depth = 0

  constructor(source: string) {
    this.#source = source
  }

  parse(): PatternNode {
    if (this.#peek() === '^') this.#at += 1
    const node = this.#choice()
    if (this.#at < this.#source.length) this.#fail('a ) without its (')
    return node
  }

  #choice(): PatternNode {
    const items = [this.#sequence()]
    while (this.#peek() === '|') {
      this.#at += 1
      items.push(this.#sequence())
    }
    return items.length === 1 && items[0] !== undefined ? items[0] : { kind: 'choice', items }
  }

  #sequence(): PatternNode {
    const items: PatternNode[] = []
    for (;;) {
      const next = this.#peek()
      if (next === '' || next === '|' || next === ')') return { kind: 'sequence', items }
      if (next === '$' && this.#depth === 0 && this.#at === this.#source.length - 1) {
        this.#at += 1
        continue
      }
      items.push(this.#quantified(this.#atom(next)))
    }
  }

  #atom(next: string): PatternNode {
    if (next === '(') return this.#group()
    if (next === '[') return { kind: 'set', set: this.#characterClass() }
    if (next === '*' || next === '+' || next === '?') this.#fail(`nothing before ${next} to repeat`)
    if (next === '{' || next === '}' || next === ']') this.#fail(`a literal ${next} needs a \\`)
    if (next === '^') this.#fail('^ is only allowed as the first character')
    if (next === '$') this.#fail('$ is only allowed as the last character')
    if (next === '\\') return { kind: 'set', set: this.#escape() }
    this.#at += 1
    if (next === '.') return { kind: 'set', set: ANY }
    return { kind: 'set', set: single(this.#literal(next)) }
  }

  #group(): PatternNode {
    const opened = this.#at
    this.#at += 1
    if (this.#source.startsWith('?:', this.#at)) this.#at += 2
    for (const [opening, refusal] of GROUP_REFUSALS) {
      if (this.#source.startsWith(opening, this.#at)) this.#fail(refusal)
    }
    this.#depth += 1
    if (this.#depth > groupDepthMax) this.#fail(`groups are nested deeper than ${groupDepthMax}`)
    const node = this.#choice()
    this.#depth -= 1
    if (this.#peek() !== ')') this.#fail('a ( without its )', opened)
    this.#at += 1
    return node
  }

  #quantified(item: PatternNode): PatternNode {
    const bounds = this.#bounds()
    if (bounds === null) return item
    // Laziness changes which match is found first, never whether there is one.
    if (this.#peek() === '?') this.#at += 1
    const next = this.#peek()
    if (next === '+') this.#fail('possessive quantifiers are not supported')
    if (next === '*' || next === '?' || next === '{') this.#fail('two quantifiers in a row')
    return { kind: 'repeat', item, min: bounds[0], max: bounds[1] }
  }

  #bounds(): readonly [number, number] | null {
    const next = this.#peek()
    if (next === '*' || next === '+' || next === '?') {
      this.#at += 1
      return next === '*' ? [0, Infinity] : next === '+' ? [1, Infinity] : [0, 1]
    }
    if (next !== '{') return null
    const found = /^\{(\d{1,9})(,?)(\d{0,9})\}/.exec(this.#source.slice(this.#at, this.#at + 24))
    if (found === null) this.#fail('{ } must hold n, n, or n,m; a literal { needs a \\')
    const min = Number(found[1])
    const max = found[2] === '' ? min : found[3] === '' ? Infinity : Number(found[3])
    if (found[2] === '' && found[3] !== '') this.#fail('{ } must hold n, n, or n,m')
    if (min > repeatMax || (max > repeatMax && max !== Infinity)) {
      this.#fail(`a repeat count may be at most ${repeatMax}`)
    }
    if (max < min) this.#fail(`the repeat counts ${min} and ${max} are out of order`)
    this.#at += found[0].length
    return [min, max]
  }

  #characterClass(): SymbolSet {
    const opened = this.#at
    this.#at += 1
    const negated = this.#peek() === '^'
    if (negated) this.#at += 1
    const set: SymbolSet = new Uint8Array(SYMBOLS)
    if (this.#peek() === ']') this.#fail('an empty character class')
    while (this.#peek() !== ']') {
      if (this.#peek() === '') this.#fail('a [ without its ]', opened)
      this.#classItem(set)
    }
    this.#at += 1
    return negated ? inverted(set) : set
  }

  /** One character, shorthand or range inside `[ ]`, added to `set`. */
  #classItem(set: SymbolSet): void {
    const from = this.#classMember()
    const isRange = this.#peek() === '-' && !this.#source.startsWith('-]', this.#at)
    if (!isRange) return include(set, from)
    const dash = this.#at
    this.#at += 1
    if (this.#peek() === '') this.#fail('a character class that does not end')
    const first = onlySymbol(from)
    const last = onlySymbol(this.#classMember())
    if (first === null || last === null) this.#fail('a range needs a character at each end', dash)
    if (last < first) this.#fail('a range out of order', dash)
    set.fill(1, first, last + 1)
  }

  #classMember(): SymbolSet {
    const next = this.#peek()
    if (next === '\\') return this.#escape()
    this.#at += 1
    return single(this.#literal(next))
  }

  #escape(): SymbolSet {
    const name = this.#source.charAt(this.#at + 1)
    const shorthand = SHORTHANDS.get(name)
    if (shorthand === undefined) {
      if (name === '') this.#fail('a \\ at the end')
      if (/[1-9k]/.test(name)) this.#fail('backreferences are not supported')
      if (/[pP]/.test(name)) this.#fail('unicode properties are not supported')
      if (/[bB]/.test(name)) this.#fail('word boundaries are not supported')
      if (/[a-zA-Z0]/.test(name)) this.#fail(`the escape \\${name} is not supported`)
    }
    this.#at += 2
    return shorthand ?? single(this.#literal(name))
  }

  #literal(character: string): string {
    if (character < ' ') this.#fail('control characters are in no path', this.#at - 1)
    if (character.charCodeAt(0) < SYMBOL_OTHER) return character
    return this.#fail('request paths are ASCII: write this character percent-encoded', this.#at - 1)
  }

  #peek(): string {
    return this.#source.charAt(this.#at)
  }

  #fail(what: string, at = this.#at): never {
    throw new EdgefnError('invalid_field', `The pattern is not valid at position ${at}: ${what}.`, {
      details: { position: at },
    })
  }
}

function setOf(characters: string): SymbolSet {
  const set: SymbolSet = new Uint8Array(SYMBOLS)
  for (const character of characters) set[character.charCodeAt(0)] = 1
  return set
}

/** The set of one ASCII character, made once. */
function single(character: string): SymbolSet {
  const symbol = character.charCodeAt(0)
  const set = SINGLES[symbol] ?? setOf(character)
  SINGLES[symbol] = set
  return set
}

function inverted(set: SymbolSet): SymbolSet {
  return set.map((member) => 1 - member)
}

function include(set: SymbolSet, more: SymbolSet): void {
  for (let symbol = 0; symbol < SYMBOLS; symbol += 1) {
    if (more[symbol] === 1) set[symbol] = 1
  }
}

/** The one member of `set`, or null when there are several. */
export function onlySymbol(set: SymbolSet): number | null {
  const first = set.indexOf(1)
  return first === set.lastIndexOf(1) ? first : null
}

const SINGLES: (SymbolSet | undefined)[] = Array.from({ length: SYMBOL_OTHER }, () => undefined)
const ANY = inverted(setOf('\n\r'))

const DIGITS = '0123456789'
const WORD = `${DIGITS}abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_`
const SPACE = ' \t\n\v\f\r'

const SHORTHANDS: ReadonlyMap<string, SymbolSet> = new Map([
  ['d', setOf(DIGITS)],
  ['D', inverted(setOf(DIGITS))],
  ['w', setOf(WORD)],
  ['W', inverted(setOf(WORD))],
  ['s', setOf(SPACE)],
  ['S', inverted(setOf(SPACE))],
])
