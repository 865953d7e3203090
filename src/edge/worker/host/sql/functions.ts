/** Host functions `sql_query`, `sql_exec`, `sql_result`: the tables that a function has on its node (docs/SQL.md). */

import type { HostCall, HostResult } from '../../../../../ffi/host-module.ts'
import { END_CALL } from '../../../../../ffi/host-module.ts'
import { SqliteError } from '../../../../../ffi/sqlite.ts'
import { LIMITS } from '../../../../protocol/limits.ts'
import type { CallContext } from '../context.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from '../host.ts'
import { fill, RESULTS } from '../result.ts'
import type { SqlRequest } from './function-database.ts'
import { SqlRefused, SqlTooLarge } from './function-database.ts'
import type { SqlFailure } from './open-databases.ts'
import type { Format } from './parameters.ts'
import { readParameters } from './parameters.ts'

const FORMATS: readonly Format[] = ['json', 'cbor']

const encoder = new TextEncoder()
const EMPTY = new Uint8Array(0)

const CODES: Readonly<Record<Exclude<SqlFailure, 'deadline'>, number>> = {
  no_database: RESULTS.notFound,
  full: RESULTS.quotaFull,
  unavailable: RESULTS.unavailable,
  busy: RESULTS.busy,
}

/** Arguments: statement, its parameters, format, and the buffer for the result. */
function run(kind: SqlRequest['kind']): HostFunctionBody {
  return (call, context, host) => {
    context.sqlResult = EMPTY
    const [sqlBytes, parameterBytes] = [call.u32(1), call.u32(3)]
    const format = FORMATS[call.i32(4)]
    if (format === undefined || sqlBytes === 0) return RESULTS.invalid
    if (sqlBytes > LIMITS.sqlStatementBytesMax || parameterBytes > LIMITS.sqlParameterBytesMax) {
      return RESULTS.tooLarge
    }
    const sql = host.memory.readBytes(call.i32(0), sqlBytes)
    const values = readParameters(host.memory.readBytes(call.i32(2), parameterBytes), format)
    if (values === null) return RESULTS.invalid
    if (kind === 'exec' && host.kv.diskFull) return RESULTS.unavailable
    return answer(call, context, host, { kind, sql, values, format })
  }
}

function answer(call: HostCall, context: CallContext, host: Host, request: SqlRequest): HostResult {
  const leftMs = () => context.deadlineMs - host.libc.monotonicMs()
  const sqlCall = { leftMs, stopped: () => host.stopped() }
  try {
    const result = host.sql.run(context.fn.function_id, sqlCall, request)
    if (result === 'deadline') {
      context.end = 'deadline'
      return END_CALL
    }
    if (typeof result === 'string') return CODES[result]
    context.sqlResult = result
    return fill(host, call.i32(5), call.u32(6), result)
  } catch (thrown) {
    const isTheirs =
      thrown instanceof SqliteError || thrown instanceof SqlRefused || thrown instanceof SqlTooLarge
    if (!isTheirs) throw thrown
    context.sqlResult = encoder.encode(thrown.message)
    return thrown instanceof SqlTooLarge ? RESULTS.tooLarge : RESULTS.sqlError
  }
}

/** What the last statement of this call brought, or why it failed, as often as it is asked for: nothing runs again. */
const sqlResult: HostFunctionBody = (call, context, host) =>
  fill(host, call.i32(0), call.u32(1), context.sqlResult)

export const SQL_FUNCTIONS: HostFunctionTable = {
  sql_query: run('query'),
  sql_exec: run('exec'),
  sql_result: sqlResult,
}
