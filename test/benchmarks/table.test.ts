import { expect, test } from 'bun:test'

import { atLeast, atMost, isReached } from '../../scripts/benchmarks/goals.ts'
import { renderGoals } from '../../scripts/benchmarks/report.ts'
import { figure, mebibytes, ratio, renderTable } from '../../scripts/benchmarks/table.ts'

test('columns are as wide as their widest cell, the first to the left and the others to the right', () => {
  const table = {
    title: 'A title',
    head: ['server', 'req/s', 'errors'],
    rows: [
      ['Bun.serve', '194854', '0'],
      ['edgefn', '9', '12 ERRORS'],
      ['short', '1'],
    ],
  }
  expect(renderTable(table).split('\n')).toEqual([
    'A title',
    'server      req/s     errors',
    '---------  ------  ---------',
    'Bun.serve  194854          0',
    'edgefn          9  12 ERRORS',
    'short           1',
  ])
})

test('numbers have as many digits as say something', () => {
  expect([194_854.3, 62.74, 4.901, -3.456, null, Number.NaN].map(figure)).toEqual([
    '194854',
    '62.7',
    '4.90',
    '-3.46',
    '–',
    '–',
  ])
  expect([0.9234, 119.6, null].map(ratio)).toEqual(['0.923', '120', '–'])
  expect([45_298_483, null].map(mebibytes)).toEqual(['43.2', '–'])
})

test('a goal is reached at its limit and missed beyond it, and when nothing was measured', () => {
  expect(isReached(atLeast(0.92, 'a', 0.92))).toBe(true)
  expect(isReached(atLeast(0.92, 'a', 0.919))).toBe(false)
  expect(isReached(atMost(10, 'a', 10))).toBe(true)
  expect(isReached(atMost(10, 'a', 10.1))).toBe(false)
  expect(isReached(atMost(10, 'a', null))).toBe(false)
  expect(isReached(atMost(10, 'a', Number.NaN))).toBe(false)
})

test('goals are printed with what was reached, or why not', () => {
  const goals = [
    atLeast(4, 'times workerd', 5.25),
    atMost(10, 'p99 beside a burner', 12.5, 'ms'),
    { ...atMost(3, 'overhead', null, 'µs'), why: 'no histogram' },
  ]
  expect(renderGoals(goals).split('\n').slice(3)).toEqual(
    [
      'times workerd         ≥ 4.000         5.250      ok',
      'p99 beside a burner   ≤ 10.0 ms     12.5 ms  missed',
      'overhead              ≤ 3.00 µs  no histogram       –',
    ].map((line) => expect.stringMatching(new RegExp(line.replaceAll(/ +/g, ' +')))),
  )
})
