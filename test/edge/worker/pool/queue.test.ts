import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { Queue } from '../../../../src/edge/worker/pool/queue.ts'

interface Item {
  waits: boolean
}

test('gives what waits in the order in which it came, and has little room for what is gone', () => {
  const step = fc.record({ do: fc.constantFrom('add', 'add', 'take', 'leave'), pick: fc.nat(500) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
      const queue = new Queue<Item>(({ waits }) => waits)
      const model: Item[] = []
      for (const { do: what, pick } of steps) {
        if (what === 'add') {
          const item = { waits: true }
          queue.add(item)
          model.push(item)
        } else if (what === 'take') {
          const taken = queue.take()
          expect(taken).toBe(model.shift() ?? null)
          if (taken !== null) taken.waits = false
        } else if (model.length > 0) {
          const [gone] = model.splice(pick % model.length, 1)
          if (gone === undefined) continue
          gone.waits = false
          queue.left()
        }
        expect(queue.places).toBeLessThanOrEqual(Math.max(2 * model.length + 2, model.length + 66))
      }
    }),
    { numRuns: 300 },
  )
})

test('nothing is left of many that came and went while nobody took any', () => {
  const queue = new Queue<Item>(({ waits }) => waits)
  for (let round = 0; round < 100_000; round += 1) {
    const item = { waits: true }
    queue.add(item)
    item.waits = false
    queue.left()
  }
  expect(queue.places).toBeLessThan(100)
})
