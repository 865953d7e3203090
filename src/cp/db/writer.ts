/**
 * Write transactions, one after the other. Those that wait together are committed together, because a commit, which waits for the
 * disk, costs more than what most of them write: each is a part of the group, fails alone, and is done when the group is on the disk.
 */

import { EdgefnError } from '../../errors.ts'
import type { Connection, OpenTransaction } from './connection.ts'
import type { ScriptTransaction } from './migrate.ts'

/** Transactions that are committed together. */
const groupMax = 128

export type Writer = <T>(work: (tx: ScriptTransaction) => Promise<T>) => Promise<T>

interface Waiting {
  readonly work: (tx: ScriptTransaction) => Promise<unknown>
  readonly resolve: (result: unknown) => void
  readonly reject: (thrown: unknown) => void
}

export function createWriter(connection: Connection): Writer {
  const waiting: Waiting[] = []
  let running = false

  async function drain(): Promise<void> {
    running = true
    while (waiting.length > 0) {
      const group = waiting.splice(0, groupMax)
      const rest = await runGroup(connection, group)
      waiting.unshift(...rest)
    }
    running = false
  }

  return function write<T>(work: (tx: ScriptTransaction) => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    // The cast is safe: what is resolved with is what `work` gave.
    waiting.push({ work, resolve: (result) => resolve(result as T), reject })
    if (!running) void drain()
    return promise
  }
}

/** Runs a group and settles its members, but for those it returns, which have not been run. */
async function runGroup(
  connection: Connection,
  group: readonly Waiting[],
): Promise<readonly Waiting[]> {
  const written: { readonly member: Waiting; readonly result: unknown }[] = []
  let next = 0
  try {
    const tx = await connection.begin()
    try {
      do {
        const member = group[next++]
        if (member === undefined) break
        await runMember(tx, member, group.length > 1, (result) => written.push({ member, result }))
      } while (tx.part !== null)
      await tx.commit()
    } finally {
      tx.close()
    }
  } catch (thrown) {
    for (const { member } of written) member.reject(thrown)
    // Without a transaction at all nobody was run; each of them has waited its time.
    if (next === 0) for (const member of group) member.reject(thrown)
    return next === 0 ? [] : group.slice(next)
  }
  for (const { member, result } of written) member.resolve(result)
  return group.slice(next)
}

/** Throws when what one member did took back what others had written. */
async function runMember(
  tx: OpenTransaction,
  member: Waiting,
  inGroup: boolean,
  onWritten: (result: unknown) => void,
): Promise<void> {
  if (tx.part === null || !inGroup) {
    try {
      onWritten(await member.work(tx))
    } catch (thrown) {
      member.reject(thrown)
      throw thrown
    }
    return
  }
  const part = await tx
    .part(() => member.work(tx))
    .catch((thrown: unknown) => {
      member.reject(thrown)
      throw thrown
    })
  if (!part.failed) return onWritten(part.result)
  member.reject(part.thrown)
  if (!part.lost) return
  throw new EdgefnError('database_unavailable', 'The database cannot be used now.', {
    cause: part.thrown,
  })
}
