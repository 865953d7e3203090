import { expect, test } from 'bun:test'

import fc from 'fast-check'

import { LoadedCode } from '../../../../src/edge/worker/pool/loaded-code.ts'

const key = fc.constantFrom('a/1', 'b/1', 'c/1', 'd/1')
const thread = fc.nat(3)
/** A module always takes the same bytes on a thread. */
const INSTRUCTIONS: Readonly<Record<string, number>> = {
  'a/1': 10,
  'b/1': 7,
  'c/1': 1000,
  'd/1': 0,
}

type Step =
  | { readonly kind: 'used'; readonly key: string; readonly thread: number }
  | { readonly kind: 'unloaded'; readonly key: string }
  | { readonly kind: 'lost'; readonly thread: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('used' as const), key, thread }),
  fc.record({ kind: fc.constant('unloaded' as const), key }),
  fc.record({ kind: fc.constant('lost' as const), thread }),
)

test('what is held costs what its threads hold of it, and the least recently used goes first', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const code = new LoadedCode()
      /** Of each module the threads that hold it, in the order of use. */
      const model = new Map<string, Set<number>>()
      for (const [at, each] of steps.entries()) {
        if (each.kind === 'used') {
          const held = model.get(each.key) ?? new Set()
          model.delete(each.key)
          model.set(each.key, held.add(each.thread))
          code.used(each.key, each.thread, INSTRUCTIONS[each.key] ?? 0, at)
        } else if (each.kind === 'unloaded') {
          model.delete(each.key)
          code.unloaded(each.key)
        } else {
          for (const held of model.values()) held.delete(each.thread)
          code.forgetThread(each.thread)
        }
        const bytes = [...model].reduce(
          (sum, [name, held]) => sum + (INSTRUCTIONS[name] ?? 0) * held.size,
          0,
        )
        expect(code.bytes).toBe(bytes)
        expect(code.oldest(() => true)?.key ?? null).toBe([...model.keys()][0] ?? null)
        const other = [...model.keys()].find((name) => name !== 'a/1') ?? null
        expect(code.oldest((name) => name !== 'a/1')?.key ?? null).toBe(other)
      }
    }),
    { numRuns: 300 },
  )
})
