import { expect, test } from 'bun:test'

import { runMutants } from './mutants.ts'

const mutants = 2_000

test('mutants of real modules are refused or run, and the process that runs them lives', async () => {
  const report = await runMutants({ first: 1, count: mutants, compileEvery: 50 })
  expect(report.problems).toEqual([])
  // A fuzzer whose mutants are all refused, or all the same, would find nothing.
  expect(report.accepted).toBeGreaterThan(mutants / 5)
  expect(report.compiled).toBeGreaterThan(mutants / 200)
  expect(Object.keys(report.outcomes)).toEqual(
    expect.arrayContaining(['answered', 'function_trap', 'execution_timeout', 'function_error']),
  )
  expect(report.rss_bytes).toBeLessThan(2 ** 30)
}, 180_000)
