/** Keeps the deaths of workers and the quarantines in the index, so that an agent that was killed forgets neither. */

import type { Database } from 'bun:sqlite'
import { z } from 'zod'

const deathSchema = z.strictObject({
  at: z.int(),
  reason: z.string(),
  running: z.array(z.string()),
})

const quarantineSchema = z.strictObject({
  function_id: z.string(),
  version: z.int(),
  /** Milliseconds since the epoch. */
  since: z.int(),
  until: z.int(),
  /** Worker processes that it ended. */
  deaths: z.int(),
  /** How many quarantines of the version this one is; each is longer than the one before. */
  times: z.int().min(1),
})
/** A quarantine, or one that is over and is remembered for what the next one's length should be. */
export type Quarantine = z.infer<typeof quarantineSchema>

const recordSchema = z.strictObject({
  deaths: z.array(deathSchema),
  quarantines: z.array(quarantineSchema),
})
export type BlameRecord = z.infer<typeof recordSchema>

export interface BlameStore {
  load(): BlameRecord
  /** Throws what SQLite throws (disk full). */
  save(record: BlameRecord): void
}

export function createBlameStore(database: Database): BlameStore {
  const put = database.query(
    'INSERT INTO blame VALUES (1, ?1) ON CONFLICT DO UPDATE SET record = excluded.record',
  )
  return {
    load() {
      const row = database.query<[string], []>('SELECT record FROM blame').values()[0]
      return parse(String(row?.[0] ?? ''))
    },
    save: (record) => void put.run(JSON.stringify(record)),
  }
}

/** A damaged record is forgotten: then a function that ends workers must do so again. */
function parse(text: string): BlameRecord {
  try {
    return recordSchema.parse(JSON.parse(text))
  } catch {
    return { deaths: [], quarantines: [] }
  }
}
