import { describe, expect, test } from 'bun:test'

import { decodeModule } from '../../../src/wasm/decode.ts'
import { planPolls, RECURSION } from '../../../src/wasm/rewrite/poll-plan.ts'
import { POLL } from '../../../src/wasm/rewrite/polls.ts'
import { safeguardForCompiler } from '../../../src/wasm/rewrite/safeguard.ts'
import { surveyModule } from '../../../src/wasm/rewrite/survey.ts'
import { assemble } from '../../edge/worker/runtime/wat.ts'

/** The plan for a module's functions, which are given in order. */
function planOf(...fields: string[]) {
  const module = decodeModule(assemble(`(module ${fields.join('\n')})`))
  const { heavy, recursion, slowReturn } = planPolls(surveyModule(module, null))
  return { heavy: [...heavy], recursion: [...recursion], slowReturn: [...slowReturn] }
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

test('a function of many calls along its cycle polls on its way in, one of few before those', () => {
  const { recursion } = planOf(
    `(func $few ${'(call $few)'.repeat(8)})`,
    `(func $many ${'(call $many)'.repeat(9)})`,
    '(func $none (call $few) (call $many))',
  )
  expect(recursion).toEqual([RECURSION.beforeCalls, RECURSION.onEntry, RECURSION.none])
})

test('what calls a function that polls before its calls counts all that it may do without one', () => {
  // Each of a thousand calls may end at once, behind a thousand instructions and without a poll.
  const calls = '(call $f (i32.const 0))'.repeat(1_000)
  const { heavy } = planOf(
    `(func $f (param i32) ${'nop '.repeat(1_000)} (if (local.get 0) (then (call $f (i32.const 0)))))`,
    `(func $caller ${calls})`,
    `(func $g (param i32) ${'nop '.repeat(1_000)} ${'(call $g (i32.const 0))'.repeat(9)})`,
    `(func $other ${calls.replaceAll('$f', '$g')})`,
  )
  expect(heavy).toEqual([0, 1, 0, 0])
})

describe('polls stand where every way to a call along the cycle has passed one', () => {
  const cases: [string, string, number][] = [
    ['once for calls one after the other', 'CALL CALL CALL', 1],
    ['not before calls that lead elsewhere', '(call $other) CALL (call $other)', 1],
    ['again behind a branch', '(if (local.get 0) (then CALL CALL)) CALL', 2],
    ['in both branches', '(if (local.get 0) (then CALL) (else CALL))', 2],
    ['behind both branches', '(if (local.get 0) (then CALL) (else CALL)) CALL', 3],
    ['not in branches behind one', 'CALL (if (local.get 0) (then CALL) (else CALL)) CALL', 1],
    ['behind a block that may be left', '(block (br_if 0 (local.get 0)) CALL) CALL', 2],
    ['in the loop only, which has its own', '(loop CALL (br_if 0 (local.get 0))) CALL', 1],
    ['behind a loop that may be passed by', '(if (local.get 0) (then (loop CALL))) CALL', 2],
    ['behind a block in a loop', '(loop (block CALL)) (block CALL)', 1],
    [
      'in the loop of a block that may be left',
      '(block (br_if 0 (local.get 0)) (loop CALL)) CALL',
      2,
    ],
  ]
  test.each(cases)('%s', (_name, body, polls) => {
    const text = body.replaceAll('CALL', '(call $f (i32.const 1))')
    const wat = `(module (func $f (param i32) ${text}) (func $other))`
    const settings = { stackBytes: 100_000, measured: null, polls: true }
    const { bytes } = safeguardForCompiler(decodeModule(assemble(wat)), settings)
    expect(
      Buffer.from(bytes).toString('latin1').split(Buffer.from(POLL).toString('latin1')).length - 1,
    ).toBe(polls)
  })
})
