import { expect, test } from 'bun:test'

import fc from 'fast-check'

import { parseGuestJson } from '../../../src/edge/worker/guest-json.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

test('what JSON.parse takes is taken, as long as it is no larger than anybody means', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      const text = JSON.stringify(value)
      expect(parseGuestJson(bytes(text))).toEqual(JSON.parse(text))
    }),
    { numRuns: 300 },
  )
})

test('brackets in strings are text, whatever stands before a quote', () => {
  const deep = '['.repeat(100)
  for (const text of [deep, `"${deep}`, `\\${deep}`, `\\"${deep}`, `${deep}\\`, `\\\\"${deep}`]) {
    expect(parseGuestJson(bytes(JSON.stringify([text, text])))).toEqual([text, text])
  }
  expect(() => parseGuestJson(bytes(`["\\\\",${deep}]`))).toThrow('nested deeper than 16')
})

function refusal(text: string): string {
  try {
    parseGuestJson(bytes(text))
    return 'taken'
  } catch (thrown) {
    return String(thrown)
  }
}

test('what would take the parser long is refused before', () => {
  const large = 3_000_000
  for (const [text, said] of [
    ['['.repeat(large), 'nested deeper'],
    ['{"a":'.repeat(large / 5), 'nested deeper'],
    [`[${'0,'.repeat(large / 2)}0]`, 'more than 20000'],
    [`[${'[],'.repeat(large / 3)}0]`, 'more than 20000'],
    [`"${'\\"'.repeat(large / 2)}`, 'JSON'],
    [`"${'\\'.repeat(large + 1)}"`, 'JSON'],
  ] as const) {
    expect(refusal(text)).toContain(said)
  }
})
