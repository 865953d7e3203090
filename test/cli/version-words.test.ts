/** Versions and shares of traffic as they are written on a command line. */

import { expect, test } from 'bun:test'

import { errorMessage } from '../../src/errors.ts'
import {
  splitText,
  stickyText,
  stickyWords,
  wantedVersions,
} from '../../src/cli/deploy/version-words.ts'

test('one version gets all, several get what is written behind them', () => {
  expect(wantedVersions(['v42'])).toEqual({ version: 42 })
  expect(wantedVersions(['42@100'])).toEqual({ version: 42 })
  const versions = [
    { version: 41, weight: 90 },
    { version: 42, weight: 10 },
  ]
  expect(wantedVersions(['v41@90', '42@10%'])).toEqual({ versions })
  const split = { sticky: 'client', versions } as const
  expect(splitText({ version: 41, split })).toBe('v41@90 v42@10')
  expect(splitText({ version: 41, split: null })).toBe('v41')
})

test('what it may not be is refused by the argument, with the word that is wrong', () => {
  const refusal = (...words: string[]) => {
    try {
      return wantedVersions(words)
    } catch (thrown) {
      return errorMessage(thrown)
    }
  }
  expect(refusal()).toBe('VERSION: must be given.')
  expect(refusal('newest')).toBe('VERSION: must be a version such as v42, got "newest".')
  expect(refusal('v1@50')).toContain('VERSION: must have 100 percent')
  expect(refusal('v1@50', 'v2')).toContain('VERSION: must have its share')
  expect(refusal('v1@50', 'v2@x')).toContain('VERSION: must be a version and percent')
  expect(refusal('v1@50', 'v2@60')).toContain('VERSION: must have weights that sum to 100')
  const percents = 'VERSION: must have 1 to 99 percent beside others, got "v2@'
  expect(refusal('v2@100', 'v1@0')).toBe(`${percents}100".`)
  expect(refusal('v2@0', 'v1@100')).toBe(`${percents}0".`)
  expect(refusal('v1@50', 'v1@50')).toContain('must name each version once')
  expect(refusal('v0@50', 'v1@50')).toContain('VERSION: must be a version')
})

test('who is a user is read and written in one form', () => {
  for (const text of ['client', 'header:x-user', 'cookie:sid']) {
    expect(stickyWords(stickyText(text))).toBe(text)
  }
  expect(stickyText('header:X-User')).toEqual({ header: 'x-user' })
  for (const text of ['', 'header', 'header:', 'header:a b', 'address:x', 'cookie:a=b']) {
    expect(() => stickyText(text)).toThrow('must be client, header:NAME or cookie:NAME')
  }
})
