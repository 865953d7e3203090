import { expect, test } from 'bun:test'

import { decodeModule } from '../../../src/wasm/decode.ts'
import { buildCallGraph } from '../../../src/wasm/rewrite/call-graph.ts'
import { planPolls } from '../../../src/wasm/rewrite/poll-plan.ts'
import { profileBodies } from '../../../src/wasm/rewrite/profile.ts'
import { assemble } from '../../edge/worker/runtime/wat.ts'

/** The plan for a module's functions, which are given in order; what lies on a cycle is counted. */
function planOf(...fields: string[]) {
  const module = decodeModule(assemble(`(module ${fields.join('\n')})`))
  const referenced = new Set(module.referenced)
  const profiles = profileBodies(module, referenced)
  const graph = buildCallGraph(module, profiles, referenced)
  const { heavy, slowReturn } = planPolls(module, profiles, graph, graph.recursive)
  return { heavy: [...heavy], slowReturn: [...slowReturn] }
}

/** Functions of which each calls the next one twice, the last one `$end`; so many calls are `2 ** levels`. */
function fan(levels: number): string[] {
  return Array.from({ length: levels }, (_, i) => {
    const next = i === levels - 1 ? '$end' : `$f${i + 1}`
    return `(func $f${i} (call ${next}) (call ${next}))`
  })
}

const END = '(func $end nop)'

test('what does a million instructions without a loop polls at its calls, what does less does not', () => {
  expect(planOf(...fan(10), END).heavy).not.toContain(1)
  const { heavy } = planOf(...fan(30), END)
  expect(heavy[0]).toBe(1)
  expect(heavy.slice(-15)).not.toContain(1)
})

test('a long function without calls, which polls nowhere, counts in full with its callers', () => {
  const { heavy } = planOf(...fan(4), `(func $end ${'nop '.repeat(1_000_001)})`)
  expect(heavy).toEqual([1, 1, 1, 1, 1])
})

test('a heavy function counts with what it does before its first poll and after its last', () => {
  const end = `(func $end ${'nop '.repeat(600_000)})`
  // Each call of $f0 goes on with 600 000 instructions behind its last poll: one is little enough, two are not.
  expect(planOf('(func $once (call $f0))', ...fan(1), end).heavy).toEqual([0, 1, 0])
  expect(planOf('(func $twice (call $f0) (call $f0))', ...fan(1), end).heavy).toEqual([1, 1, 0])
})

test('recursion that calls much on its way back polls there, recursion that does little does not', () => {
  const down = (work: string) => `(func $down (param i32)
    (if (local.get 0) (then (call $down (i32.const 0)) (call ${work}))))`
  expect(planOf(down('$f0'), ...fan(12), END).slowReturn[0]).toBe(1)
  expect(planOf(down('$end'), END).slowReturn[0]).toBe(0)
})

test('what the table holds counts in a function that lies on a cycle with the table too', () => {
  const { heavy } = planOf(
    '(table 2 funcref) (elem (i32.const 0) $loop $f0)',
    `(func $loop ${'(call_indirect (i32.const 1))'.repeat(1_000)})`,
    ...fan(12),
    END,
  )
  expect(heavy[0]).toBe(1)
  expect(heavy.slice(1)).not.toContain(1)
})
