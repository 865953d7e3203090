/** Runs a schema process to its end, or until its time is over. */

import type { SqlAnswer, SqlCommand, SqlJob } from './job.ts'
import { sqlAnswerSchema } from './job.ts'

/** What is given to starting, and to being stopped by itself, before it is killed. */
const graceMs = 30_000
/** Characters of its own words that are kept. */
const wordsMax = 500

/** It ended before it had told of every schema; those it did not tell of may have been applied or not. */
export class SqlProcessFailed extends Error {
  override readonly name = 'SqlProcessFailed'
}

/**
 * What became of the schemas, up to the first that failed. Throws SqlProcessFailed when the process did not come to that: it
 * was killed, by its time or by anybody, or could not begin.
 */
export async function runSqlProcess(
  command: SqlCommand,
  job: SqlJob,
  options: { readonly ms_max: number; readonly signal?: AbortSignal },
): Promise<SqlAnswer[]> {
  const child = Bun.spawn({
    cmd: command(),
    stdin: new TextEncoder().encode(JSON.stringify(job)),
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: options.ms_max + graceMs,
    killSignal: 'SIGKILL',
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
  const [printed, words] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  const answers = printed
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => sqlAnswerSchema.parse(JSON.parse(line)))
  const isWhole = answers.length === job.schemas.length || answers.at(-1)?.error != null
  if (isWhole) return answers
  const how = child.signalCode ?? `code ${child.exitCode}: ${words.trim().slice(-wordsMax)}`
  throw new SqlProcessFailed(`The process that applies schemas ended by ${how}.`)
}
