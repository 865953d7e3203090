/**
 * Handlers for edgefn in AssemblyScript. docs/GUEST-ABI.md is the reference of what lies below.
 *
 *   import { Request, Response, onRequest } from 'edgefn'
 *   export { alloc, handle } from 'edgefn'
 *
 *   onRequest((request: Request) => Response.text(`Hello: ${request.method} ${request.path}\n`))
 */
export { alloc, handle, onRequest } from './assembly/guest'
export { Request, env, requestHeader, requestId } from './assembly/request'
export { Response } from './assembly/response'
export { Fetched, Fetch, get as fetch } from './assembly/fetch'
export { Keys, kvDelete, kvGet, kvGetText, kvKeys, kvPut, kvPutText } from './assembly/kv'
export { LogLevel, log } from './assembly/log'
export { increment } from './assembly/metrics'
export { Result } from './assembly/result'
export { SqlResult, sqlExec, sqlQuery } from './assembly/sql'
