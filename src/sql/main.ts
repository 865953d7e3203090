/** A schema process: one job, then the end. Whatever its SQL does, nobody who serves waits for it; it may be killed at any moment. */

import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'

import { openLibc } from '../../ffi/libc.ts'
import { applySchemas } from './apply.ts'
import { connect } from './connect.ts'
import type { SqlAnswer, SqlJob } from './job.ts'

/** How often its database may be found locked, which is waited for in between. */
const busyMsMax = 20_000

/** Does the job, and prints an answer for each schema as soon as there is one. */
export function runSqlJob(job: SqlJob): void {
  const libc = openLibc()
  libc.endWithParent()
  let until = Infinity
  const late = () => libc.monotonicMs() > until
  if (job.path !== null) mkdirSync(dirname(job.path), { recursive: true, mode: 0o700 })
  const database = {
    path: job.path ?? ':memory:',
    create: true,
    who: 'schema',
    stops: late,
  } as const
  const connection = connect(database, libc)
  try {
    connection.run(`PRAGMA busy_timeout = ${busyMsMax}`)
    if (job.path !== null) {
      connection.run('PRAGMA auto_vacuum = INCREMENTAL')
      connection.run('PRAGMA journal_mode = WAL')
      // What is reported as applied is on the disk.
      connection.run('PRAGMA synchronous = FULL')
    }
    const clock = {
      late,
      now: () => new Date().toISOString(),
      begin: () => {
        until = libc.monotonicMs() + job.schema_ms_max
      },
    }
    applySchemas(connection, job.schemas, clock, print)
  } finally {
    connection.close()
  }
}

function print(answer: SqlAnswer): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
