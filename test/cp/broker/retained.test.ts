/** Retained messages by their topics give what Aedes' own look at all of them gives. */

import { expect, test } from 'bun:test'
import type { Readable } from 'node:stream'

import memory from 'aedes-persistence'
import fc from 'fast-check'

import { createPersistence } from '../../../src/cp/broker/retained.ts'

interface Store {
  storeRetained(packet: { topic: string; payload: Buffer }): Promise<void>
  createRetainedStreamCombi(patterns: string[]): Readable
}

async function found(store: Store, patterns: string[]): Promise<string[]> {
  const packets: { topic: string; payload: Buffer }[] = await store
    .createRetainedStreamCombi(patterns)
    .toArray()
  return packets.map(({ topic, payload }) => `${topic}=${payload.toString()}`)
}

test('with and without wildcards, after messages were replaced and taken away', async () => {
  const topic = fc.constantFrom('a', 'a/b', 'a/b/c', 'b', 'b/b')
  const pattern = fc.oneof(topic, fc.constantFrom('#', 'a/#', '+/b', 'a/+', '+', 'none'))
  const message = fc.record({ topic, payload: fc.constantFrom('', 'x', 'y') })
  await fc.assert(
    fc.asyncProperty(
      fc.array(message, { maxLength: 12 }),
      fc.uniqueArray(pattern, { minLength: 1, maxLength: 4 }),
      async (messages, patterns) => {
        const ours = createPersistence() as Store
        const theirs = memory() as unknown as Store
        for (const { topic, payload } of messages) {
          for (const store of [ours, theirs]) {
            await store.storeRetained({ topic, payload: Buffer.from(payload) })
          }
        }
        expect(await found(ours, patterns)).toEqual(await found(theirs, patterns))
      },
    ),
    { numRuns: 200 },
  )
})
