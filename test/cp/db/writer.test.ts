/** Transactions that wait together are committed together, and are none the less each by itself. */

import { expect, test } from 'bun:test'

import { openFile } from '../../../src/cp/db/file-connection.ts'
import type { Connection } from '../../../src/cp/db/connection.ts'
import type { ScriptTransaction } from '../../../src/cp/db/migrate.ts'
import { createWriter } from '../../../src/cp/db/writer.ts'
import { tempFolder } from './temp-database.ts'

interface Written extends AsyncDisposable {
  readonly connection: Connection
  readonly commits: () => number
  readonly write: ReturnType<typeof createWriter>
  values(): Promise<unknown[]>
}

async function written(): Promise<Written> {
  const folder = await tempFolder()
  const connection = openFile(`file:${folder.path}/t.db`)
  let commits = 0
  const counted: Connection = {
    ...connection,
    begin: async () => {
      const tx = await connection.begin()
      return {
        ...tx,
        commit: async () => {
          commits += 1
          await tx.commit()
        },
      }
    },
  }
  const write = createWriter(counted)
  await write((tx) => tx.script('CREATE TABLE t (v INTEGER PRIMARY KEY, pad TEXT)'))
  commits = 0
  return {
    connection,
    commits: () => commits,
    write,
    values: async () =>
      (await connection.reader.all('SELECT v FROM t ORDER BY v')).map((row) => row['v']),
    async [Symbol.asyncDispose]() {
      connection.close()
      await folder[Symbol.asyncDispose]()
    },
  }
}

const insert = (tx: ScriptTransaction, value: number, pad = '') =>
  tx.run('INSERT INTO t VALUES (?, ?)', [value, pad])

test('what waits together is committed together, in order, and each gets its own result', async () => {
  await using db = await written()
  const results = await Promise.all(
    Array.from({ length: 60 }, (_, value) =>
      db.write(async (tx) => {
        await insert(tx, value)
        return (await tx.get('SELECT count(*) AS rows FROM t'))?.['rows']
      }),
    ),
  )
  expect(results).toEqual(Array.from({ length: 60 }, (_, index) => index + 1))
  expect(await db.values()).toHaveLength(60)
  // The first does not wait for company; all others wait for it.
  expect(db.commits()).toBe(2)
})

test('one that fails leaves nothing of its own, and everything of the others', async () => {
  await using db = await written()
  const works = Array.from({ length: 20 }, (_, value) =>
    db.write(async (tx) => {
      await insert(tx, value)
      if (value % 5 === 3) throw new Error(`no ${value}`)
      if (value % 5 === 4) await insert(tx, value)
      return value
    }),
  )
  const outcomes = await Promise.allSettled(works)
  const fulfilled = outcomes.flatMap((outcome) =>
    outcome.status === 'fulfilled' ? [outcome.value] : [],
  )
  expect(fulfilled).toEqual([0, 1, 2, 5, 6, 7, 10, 11, 12, 15, 16, 17])
  expect(await db.values()).toEqual(fulfilled)
})

test('nobody is told of success before the disk has it, and all are told when the commit fails', async () => {
  await using db = await written()
  const first = db.write((tx) => insert(tx, 1))
  // Deferred foreign keys are looked at by the commit alone.
  const broken = db.write((tx) =>
    tx.script(`PRAGMA defer_foreign_keys = ON; CREATE TABLE p (id INTEGER PRIMARY KEY);
      CREATE TABLE c (p INTEGER REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED);
      INSERT INTO c VALUES (7)`),
  )
  const beside = db.write((tx) => insert(tx, 2))
  await first
  expect((await Promise.allSettled([broken, beside])).map(({ status }) => status)).toEqual([
    'rejected',
    'rejected',
  ])
  expect(await db.values()).toEqual([1])
  await db.write((tx) => insert(tx, 3))
  expect(await db.values()).toEqual([1, 3])
})

test('a transaction that is taken back as a whole takes nobody along who has not been run', async () => {
  await using db = await written()
  const first = db.write((tx) => insert(tx, 1))
  const written2 = db.write((tx) => insert(tx, 2))
  const lost = db.write(async (tx) => {
    // What SQLite does by itself when the disk is full.
    await tx.script('ROLLBACK')
    throw new Error('the disk is full')
  })
  const after = db.write((tx) => insert(tx, 4))
  const outcomes = await Promise.allSettled([first, written2, lost, after])
  expect(outcomes.map(({ status }) => status)).toEqual([
    'fulfilled',
    'rejected',
    'rejected',
    'fulfilled',
  ])
  expect(await db.values()).toEqual([1, 4])
})

test('one whose part can neither begin nor be taken back is told so, and the writer goes on', async () => {
  await using db = await written()
  let broken = true
  const write = createWriter({
    ...db.connection,
    begin: async () => {
      const tx = await db.connection.begin()
      const { part } = tx
      if (part === null) throw new Error('A file has parts.')
      const failing: typeof part = (work) =>
        broken ? Promise.reject(new Error('no savepoint')) : part(work)
      return { ...tx, part: failing }
    },
  })
  const outcomes = await Promise.allSettled([1, 2, 3].map((v) => write((tx) => insert(tx, v))))
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  broken = false
  await Promise.all([4, 5].map((v) => write((tx) => insert(tx, v))))
  expect(await db.values()).toEqual([1, 3, 4, 5])
})
