/** A guest's connection that holds each statement to the pace of the functions it uses (`src/sql/slow-functions.ts`). */

import type { Libc } from '../../../../../ffi/libc.ts'
import type { SqliteConnection, SqliteStatement } from '../../../../../ffi/sqlite.ts'
import { LIMITS } from '../../../../protocol/limits.ts'
import { connect } from '../../../../sql/connect.ts'
import type { Pace } from '../../../../sql/slow-functions.ts'
import { paceOfDefinition, paceOfFunction, PACES, slower } from '../../../../sql/slow-functions.ts'

/** The statement has too many slow functions. */
export class TooManySlow extends Error {
  override readonly name = 'TooManySlow'

  constructor() {
    super(
      `over ${LIMITS.sqlSlowUsesMax} uses of LIKE, GLOB, instr, replace or trim in a statement, its views and triggers`,
    )
  }
}

export class PacedConnection {
  readonly connection: SqliteConnection
  /** Of the statement that is prepared or runs. */
  #uses = 0
  #pace: Pace = 'usual'
  /** Of the tables and indexes there are, by the number of their last change. */
  #definitions: { readonly version: unknown; readonly pace: Pace } | null = null
  readonly #paces = new WeakMap<SqliteStatement, Pace>()

  /** Throws SqliteError. */
  constructor(path: string, stops: () => boolean, libc: Libc) {
    const uses = (name: string) => this.#use(name)
    this.connection = connect({ path, create: false, who: 'guest', stops, uses }, libc)
  }

  /** Throws SqliteError, and TooManySlow. */
  prepare(sql: Uint8Array): ReturnType<SqliteConnection['prepare']> {
    this.#begin('usual')
    const base = this.#paceOfDefinitions()
    try {
      const prepared = this.connection.prepare(sql)
      if (prepared.statement !== null) {
        this.#paces.set(prepared.statement, slower(base, this.#pace))
      }
      return prepared
    } catch (thrown) {
      throw this.#uses > LIMITS.sqlSlowUsesMax ? new TooManySlow() : thrown
    }
  }

  /** Runs what steps the statement, at its pace. */
  run<T>(statement: SqliteStatement, steps: () => T): T {
    this.#begin(this.#paces.get(statement) ?? 'usual')
    try {
      return steps()
    } finally {
      // It is prepared again by itself when the tables have changed, and may use others then.
      this.#paces.set(statement, this.#pace)
      this.#begin('usual')
    }
  }

  #begin(pace: Pace): void {
    this.#uses = 0
    this.#set(pace)
  }

  #use(name: string): boolean {
    const pace = paceOfFunction(name)
    if (pace === 'usual') return true
    this.#set(slower(this.#pace, pace))
    this.#uses += 1
    return this.#uses <= LIMITS.sqlSlowUsesMax
  }

  #set(pace: Pace): void {
    if (pace === this.#pace) return
    this.#pace = pace
    this.connection.hold(PACES[pace].bytes, PACES[pace].steps)
  }

  #paceOfDefinitions(): Pace {
    const [[version] = []] = this.connection.run('PRAGMA schema_version')
    if (this.#definitions?.version === version) return this.#definitions?.pace ?? 'usual'
    const texts = this.connection.run(
      "SELECT sql FROM sqlite_schema WHERE type IN ('table', 'index') AND sql IS NOT NULL",
    )
    const pace = texts.map(([sql]) => paceOfDefinition(String(sql))).reduce(slower, 'usual')
    this.#definitions = { version, pace }
    return pace
  }
}
