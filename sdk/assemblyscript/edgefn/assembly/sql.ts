/** Tables that the function has on its node (docs/SQL.md). Parameters and results are JSON. */
import { at, decode, encode } from './bytes'
import * as host from './host'

const JSON_FORMAT: i32 = 0

/** What a statement brought. */
export class SqlResult {
  /** Below zero when it failed: a Result. */
  code: i32
  /** The JSON document; after Result.SqlError, SQLite's words. */
  text: string

  constructor(code: i32, text: string) {
    this.code = code
    this.text = text
  }
}

/** Runs a statement that changes nothing. `params` is a JSON array, or empty. */
export function sqlQuery(sql: string, params: string = ''): SqlResult {
  const statement = encode(sql)
  const values = encode(params)
  const code = host.sql_query(
    at(statement),
    statement.byteLength,
    at(values),
    values.byteLength,
    JSON_FORMAT,
    0,
    0,
  )
  return resultOf(code)
}

/** The same of a statement that changes rows. */
export function sqlExec(sql: string, params: string = ''): SqlResult {
  const statement = encode(sql)
  const values = encode(params)
  const code = host.sql_exec(
    at(statement),
    statement.byteLength,
    at(values),
    values.byteLength,
    JSON_FORMAT,
    0,
    0,
  )
  return resultOf(code)
}

/** Nothing runs again: the host has kept the last result. */
function resultOf(code: i32): SqlResult {
  const buffer = new ArrayBuffer(host.sql_result(0, 0))
  host.sql_result(at(buffer), buffer.byteLength)
  return new SqlResult(code, decode(buffer))
}
