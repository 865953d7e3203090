/** That the invariants which no planted defect reaches can fail. */

import { expect, test } from 'bun:test'

import type { WorkerFunction } from '../../src/edge/ipc.ts'
import { tableFaults } from './invariants.ts'
import { Tally } from './tally.ts'

type Row = Pick<WorkerFunction, 'function_id' | 'version' | 'deployment_id' | 'split'>

/** A table of a function `f` as far as it is looked at, by the places of its rows. */
function table(rows: Readonly<Record<string, Partial<Row>>>) {
  const functions = Object.entries(rows).map(
    ([key, row]) => [key, { function_id: 'f', deployment_id: 'd', split: null, ...row }] as const,
  )
  // The cast leaves out what is not looked at.
  return { functions: new Map(functions) as unknown as ReadonlyMap<string, WorkerFunction> }
}

const split = {
  sticky: 'none',
  arms: [
    { version: 1, weight: 10 },
    { version: 2, weight: 90 },
  ],
} as unknown as WorkerFunction['split']

test('a table is at fault that has two versions outside a split, lacks one of a split, or mixes deployments', () => {
  const one = table({ f: { version: 1 } })
  const both = table({ f: { version: 1, split }, 'f/2': { version: 2 } })
  const outside = table({ f: { version: 1 }, 'f/2': { version: 2 } })
  const lacking = table({ f: { version: 1, split } })
  const other = table({ f: { version: 1, split }, 'f/3': { version: 3 } })
  const mixed = table({
    f: { version: 1, split },
    'f/2': { version: 2, deployment_id: 'e' as Row['deployment_id'] },
  })
  const orphan = table({ 'f/2': { version: 2 } })
  expect([one, both].map((item) => tableFaults(item))).toEqual([[], []])
  expect([outside, lacking, other, mixed, orphan].map((item) => tableFaults(item).length)).toEqual([
    1, 1, 1, 1, 1,
  ])
})

test('a run that is long enough is told what never happened in it', () => {
  const tally = new Tally()
  expect(tally.missing(199)).toEqual([])
  expect(tally.missing(200)).toContain('rollback')
  tally.count('rollback')
  expect(tally.missing(200)).not.toContain('rollback')
  expect(tally.missing(200)).toContain('rolled_back')
})
