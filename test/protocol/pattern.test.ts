/** Route patterns: the same language as JavaScript's RegExp on safe patterns, in linear time on hostile ones. */

import { describe, expect, test } from 'bun:test'

import fc from 'fast-check'

import { EdgefnError } from '../../src/errors.ts'
import { compilePattern, type Matchers, type Pattern } from '../../src/protocol/pattern.ts'

function refusal(source: string): string {
  try {
    compilePattern(source)
  } catch (error) {
    expect(error).toBeInstanceOf(EdgefnError)
    expect((error as EdgefnError).code).toBe('invalid_field')
    return (error as EdgefnError).message
  }
  throw new Error(`${source} was accepted`)
}

/** A small alphabet, so that random patterns and random paths meet often. */
const PATH_ALPHABET = ['a', 'b', 'A', '0', '7', '_', '-', '/', '.', ' ', '%', '~']
const path = fc.string({ unit: fc.constantFrom(...PATH_ALPHABET), maxLength: 12 })

const atom = fc.constantFrom(
  ...[
    'a',
    'b',
    'A',
    '0',
    '/',
    '-',
    '_',
    '.',
    '\\.',
    '\\/',
    '\\-',
    '\\d',
    '\\D',
    '\\w',
    '\\W',
    '\\s',
  ],
  ...[
    '\\S',
    '[ab]',
    '[^ab]',
    '[a-z]',
    '[^a-z/]',
    '[\\d_-]',
    '[a-]',
    '[-a]',
    '[\\w.~]',
    '[^\\s/]',
    '[.*+]',
  ],
)
const quantifier = fc.constantFrom(
  '*',
  '+',
  '?',
  '{0}',
  '{2}',
  '{1,}',
  '{0,2}',
  '{1,3}',
  '*?',
  '+?',
  '??',
)

const { pattern } = fc.letrec<{ pattern: string; sequence: string; part: string; unit: string }>(
  (tie) => ({
    pattern: fc.array(tie('sequence'), { minLength: 1, maxLength: 3 }).map((all) => all.join('|')),
    sequence: fc.array(tie('part'), { maxLength: 4 }).map((all) => all.join('')),
    part: fc.oneof(
      { weight: 2, arbitrary: tie('unit') },
      fc.tuple(tie('unit'), quantifier).map(([unit, suffix]) => unit + suffix),
    ),
    unit: fc.oneof(
      { maxDepth: 3 },
      { weight: 4, arbitrary: atom },
      tie('pattern').map((inner) => `(${inner})`),
      tie('pattern').map((inner) => `(?:${inner})`),
    ),
  }),
)

const pick = ({ literal, isLiteral }: Pattern) => ({ literal, isLiteral })

describe('the language of patterns', () => {
  // Longer patterns would put the reference, which backtracks, to the test.
  const short = pattern.filter((source) => source.length <= 80)

  test('agrees with RegExp on generated patterns and paths', () => {
    let matches = 0
    const matchers: Matchers = new Map()
    fc.assert(
      fc.property(short, fc.array(path, { minLength: 1, maxLength: 8 }), (source, paths) => {
        const compiled = compilePattern(source, matchers)
        const reference = new RegExp(`^(?:${source})$`)
        for (const text of paths) {
          if (reference.test(text)) matches += 1
          expect({ source, text, matches: compiled.test(text) }).toEqual({
            source,
            text,
            matches: reference.test(text),
          })
        }
      }),
      { numRuns: 1500 },
    )
    expect(matches).toBeGreaterThan(500)
  })

  test('says what every match begins with, and whether that is all', () => {
    const cases = [
      ['/users/[0-9]+', '/users/', false],
      ['^/a\\.b\\+c$', '/a.b+c', true],
      ['/ab*', '/a', false],
      ['/ab{2}', '/a', false],
      ['/a(b)', '/a', false],
      ['/a[b]c', '/a', false],
      ['/a|/b', '', false],
      ['/a\\d', '/a', false],
      ['', '', true],
    ] as const
    for (const [source, literal, isLiteral] of cases) {
      expect({ source, ...pick(compilePattern(source)) }).toEqual({ source, literal, isLiteral })
    }
  })

  test('patterns that end alike share an automaton and still begin each with their own', () => {
    const matchers: Matchers = new Map()
    const [users, orders] = ['/users/\\d+', '/orders/\\d+'].map((source) =>
      compilePattern(source, matchers),
    )
    expect([users?.test('/users/12'), users?.test('/orders/12')]).toEqual([true, false])
    expect([orders?.test('/users/12'), orders?.test('/orders/12')]).toEqual([false, true])
    expect(matchers.size).toBe(1)
  })

  test('is anchored over the whole path, with or without ^ and $', () => {
    for (const source of ['/api/v\\d+', '^/api/v\\d+', '/api/v\\d+$', '^/api/v\\d+$']) {
      const compiled = compilePattern(source)
      expect(compiled.test('/api/v12')).toBe(true)
      expect(compiled.test('/api/v12/x')).toBe(false)
      expect(compiled.test('x/api/v12')).toBe(false)
      expect(compiled.test('/api/v')).toBe(false)
    }
  })

  test('counts exactly', () => {
    const compiled = compilePattern('/[0-9a-f]{2,4}(-x){2}')
    expect(compiled.test('/ab-x-x')).toBe(true)
    expect(compiled.test('/abcd-x-x')).toBe(true)
    expect(compiled.test('/a-x-x')).toBe(false)
    expect(compiled.test('/abcde-x-x')).toBe(false)
    expect(compiled.test('/abc-x')).toBe(false)
  })

  test('takes characters beyond ASCII in a path as ones that no literal names', () => {
    expect(compilePattern('/.').test('/é')).toBe(true)
    expect(compilePattern('/[^a]').test('/é')).toBe(true)
    expect(compilePattern('/\\w').test('/é')).toBe(false)
  })
})

describe('refusals name what is wrong and where', () => {
  const cases: [source: string, position: number, what: RegExp][] = [
    ['/a\\1', 2, /backreferences/],
    ['/(?=a)', 2, /lookahead/],
    ['/(?!a)', 2, /lookahead/],
    ['/(?<=a)', 2, /lookbehind/],
    ['/(?<!a)', 2, /lookbehind/],
    ['/(?<n>a)', 2, /named groups/],
    ['/(?i)a', 2, /flags/],
    ['/a++', 3, /possessive/],
    ['/a**', 3, /two quantifiers/],

    ['*a', 0, /nothing before/],
    ['/\\p{L}', 1, /unicode properties/],
    ['/\\bx', 1, /word boundaries/],
    ['/\\u0041', 1, /escape/],
    ['/[z-a]', 3, /out of order/],
    ['/[a', 1, /without its \]/],
    ['/[]', 2, /empty/],
    ['/(a', 1, /without its \)/],
    ['/a)', 2, /without its \(/],
    ['/a{2', 2, /\{ \}/],
    ['/a{3,2}', 2, /out of order/],
    ['/a{2000}', 2, /at most 1000/],
    ['/a^b', 2, /first character/],
    ['/a$b', 2, /last character/],
    ['/é', 1, /percent-encoded/],
    ['/\\', 1, /at the end/],
  ]
  for (const [source, position, what] of cases) {
    test(`${source} at ${position}`, () => {
      expect(refusal(source)).toMatch(what)
      expect(refusal(source)).toContain(`at position ${position}:`)
    })
  }

  test('a pattern that is too long, too deep or too large when written out', () => {
    expect(refusal(`/${'a'.repeat(500)}`)).toContain('501 characters')
    expect(refusal('('.repeat(60) + ')'.repeat(60))).toContain('nested deeper')
    expect(refusal('(((a{50}){50}){50})')).toContain('states')
    expect(refusal('((((){1000}){1000}){1000})')).toContain('states')
  })

  test('anything at all is either compiled or refused with invalid_field', () => {
    const noise = fc.string({
      unit: fc.constantFrom(...'ab()[]{}|*+?^$\\.-,19dwp<=!:é'),
      maxLength: 30,
    })
    fc.assert(
      fc.property(noise, (source) => {
        try {
          compilePattern(source).test('/a/b')
        } catch (error) {
          expect(error).toBeInstanceOf(EdgefnError)
        }
      }),
      { numRuns: 3000 },
    )
  })
})

describe('ReDoS', () => {
  const hostile: [pattern: string, unit: string][] = [
    ['(a+)+$', 'a'],
    ['(a*)*b', 'a'],
    ['(a|aa)+', 'a'],
    ['(a|a)*b', 'a'],
    ['(.*a){12}', 'a'],
    ['([a-zA-Z]+)*', 'a'],
    ['(x+x+)+y', 'x'],
  ]
  for (const [source, unit] of hostile) {
    test(`${source} takes steps in proportion to the path`, () => {
      const stepsFor = (length: number) => {
        const compiled = compilePattern(source)
        const before = compiled.steps()
        compiled.test(`${unit.repeat(length)}!`)
        return compiled.steps() - before
      }
      const [short, long] = [stepsFor(1_000), stepsFor(10_000)]
      expect(long).toBeLessThanOrEqual(short * 11)
    })
  }

  test('a pattern whose deterministic form explodes stays within length × size', () => {
    const compiled = compilePattern('(a|b)*a(a|b){60}')
    const size = 200
    let seed = 1
    const text = Array.from({ length: 5_000 }, () => {
      seed = (seed * 1103515245 + 12345) % 2147483648
      return seed % 3 === 0 ? 'a' : 'b'
    }).join('')
    const before = compiled.steps()
    compiled.test(text)
    expect(compiled.steps() - before).toBeLessThan(text.length * size * 3)
  })
})
