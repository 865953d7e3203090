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
  | { readonly kind: 'made'; readonly key: string }
  | { readonly kind: 'gone'; readonly key: string }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('used' as const), key, thread }),
  fc.record({ kind: fc.constant('unloaded' as const), key }),
  fc.record({ kind: fc.constant('lost' as const), thread }),
  fc.record({ kind: fc.constant('made' as const), key }),
  fc.record({ kind: fc.constant('gone' as const), key }),
)

test('what is held costs what its threads hold of it, and of those without instances the least recently used goes first', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const code = new LoadedCode()
      /** Of each module the threads that hold it, in the order of use. */
      const model = new Map<string, Set<number>>()
      const instances = new Map<string, number>()
      const toEnd = (name: string) => {
        const held = model.get(name)
        if (held === undefined) return
        model.delete(name)
        model.set(name, held)
      }
      for (const [at, each] of steps.entries()) {
        if (each.kind === 'made') {
          instances.set(each.key, (instances.get(each.key) ?? 0) + 1)
          code.made(each.key)
        } else if (each.kind === 'gone') {
          const left = (instances.get(each.key) ?? 0) - 1
          if (left < 0) continue
          instances.set(each.key, left)
          code.gone(each.key)
          if (left === 0) toEnd(each.key)
        } else if (each.kind === 'used') {
          const held = model.get(each.key) ?? new Set()
          model.set(each.key, held.add(each.thread))
          toEnd(each.key)
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
        const copies = [...model.values()].reduce((sum, held) => sum + held.size, 0)
        expect(code.copies).toBe(copies)
        const spare = [...model.keys()].filter((name) => (instances.get(name) ?? 0) === 0)
        expect(code.oldest()?.key ?? null).toBe(spare[0] ?? null)
      }
    }),
    { numRuns: 300 },
  )
})
