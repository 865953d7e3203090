/** What `secret put` makes of its input: the text as it is, or a refusal. */

import { expect, test } from 'bun:test'

import { secretValue } from '../../src/cli/commands/secret.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

test('a value is kept to the letter, but for one line end', () => {
  expect(secretValue(bytes('pässwörd\n'))).toBe('pässwörd')
  expect(secretValue(bytes('a\n\r\n'))).toBe('a\n')
  expect(secretValue(bytes('\uFEFFmarked'))).toBe('\uFEFFmarked')
})

test('bytes that are not UTF-8 are refused, and not shown', () => {
  for (const value of [[0x70, 0xe4, 0x73], [0xff], [0xc3], [0xed, 0xa0, 0x80]]) {
    expect(() => secretValue(new Uint8Array(value))).toThrow('stdin: must be UTF-8 text')
  }
  expect(() => secretValue(bytes('\n'))).toThrow('1 to 4096 characters, has 0')
})
