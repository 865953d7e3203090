import { expect, test } from 'bun:test'

import { parseCommandLine } from '../../scripts/benchmarks/settings.ts'

const known = ['hello', 'echo']

test('without arguments everything is measured', () => {
  expect(parseCommandLine([], known)).toEqual({
    only: null,
    rounds: 5,
    seconds: 2,
    functions: 10_000,
    json: null,
  })
})

test('scenarios are named with commas', () => {
  const words = ['--only', 'hello, echo', '--rounds', '3', '--seconds=1', '--json', 'out.json']
  const { only, rounds, seconds, json } = parseCommandLine(words, known)
  expect({ only, rounds, seconds, json }).toEqual({
    only: ['hello', 'echo'],
    rounds: 3,
    seconds: 1,
    json: 'out.json',
  })
})

test('what is not known or no number is refused by name', () => {
  expect(() => parseCommandLine(['--only', 'helo'], known)).toThrow(
    'no scenario helo, but hello, echo',
  )
  expect(() => parseCommandLine(['--rounds', '0'], known)).toThrow('--rounds: must be a whole')
  expect(() => parseCommandLine(['--seconds', '0.5'], known)).toThrow('--seconds')
  expect(() => parseCommandLine(['--round', '1'], known)).toThrow('--round')
})
