import { expect, test } from 'bun:test'

import {
  parseStat,
  processorMicros,
  processTree,
  residentBytes,
} from '../../scripts/benchmarks/processes.ts'

test('the times of a process are its own and those of the children it has waited for', () => {
  const fields = '4242 (a (b) c) S 17 4242 4242 0 -1 4194304 101 5 0 0 100 20 3 4 20 0 1 0 32684'
  expect(parseStat(fields)).toEqual({ parent: 17, micros: 1_270_000 })
})

test('the tree of a process has its children, and their memory and time', async () => {
  const child = Bun.spawn(['sleep', '30'])
  try {
    const tree = processTree([process.pid])
    expect(tree).toContain(process.pid)
    expect(tree).toContain(child.pid)
    expect(residentBytes(tree)).toBeGreaterThan(residentBytes([child.pid]))
    expect(residentBytes([child.pid])).toBeGreaterThan(0)
    expect(processorMicros([process.pid])).toBeGreaterThan(0)
  } finally {
    child.kill()
    await child.exited
  }
  expect(processTree([child.pid])).toEqual([])
  expect(residentBytes([child.pid])).toBe(0)
})
