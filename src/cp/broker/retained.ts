/**
 * What Aedes keeps in memory, with retained messages found by their topic: its own look at all of them for each subscription, which
 * makes ten thousand nodes that connect, each with a retained status, a hundred million comparisons.
 */

import { Readable } from 'node:stream'

import memory from 'aedes-persistence'

/** A message as Aedes stores it. */
interface RetainedPacket {
  readonly topic: string
  readonly payload: Uint8Array | string
}

/** As it is at run time; the types are those of an older, callback-taking form. */
interface RetainedStore {
  storeRetained(packet: RetainedPacket): Promise<void>
  createRetainedStreamCombi(patterns: readonly string[]): Readable
}

/** A persistence for `Aedes.createBroker`. */
export function createPersistence(): object {
  // The cast is the border.
  const persistence = memory() as unknown as RetainedStore
  const byTopic = new Map<string, RetainedPacket>()
  const store = persistence.storeRetained.bind(persistence)
  const streamAll = persistence.createRetainedStreamCombi.bind(persistence)
  const indexed: RetainedStore = {
    storeRetained(packet) {
      // An empty one takes the message of its topic away [MQTT-3.3.1-10].
      if (packet.payload.length === 0) byTopic.delete(packet.topic)
      else byTopic.set(packet.topic, { ...packet })
      return store(packet)
    },
    createRetainedStreamCombi(patterns) {
      if (patterns.some(hasWildcard)) return streamAll(patterns)
      return Readable.from(patterns.flatMap((topic) => byTopic.get(topic) ?? []))
    },
  }
  return Object.assign(persistence, indexed)
}

function hasWildcard(pattern: string): boolean {
  return pattern.includes('+') || pattern.includes('#')
}
