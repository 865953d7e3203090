/**
 * Host functions of Spin 1.x modules, and of the other modules that wit-bindgen 0.2 was used for. What edgefn has is
 * answered; every other one answers with its own error, so that modules start whatever they were linked with.
 */

import type { HostCall } from '../../../../../ffi/host-module.ts'
import { SPIN_IMPORTS } from '../../../../wasm/spin-imports.ts'
import type { CallContext } from '../context.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from '../host.ts'
import type { Block } from './result.ts'
import { PendingResult, record } from './result.ts'

/** Makes the record of a result; may throw for what is not in the guest's memory. */
type Answer = (call: HostCall, context: CallContext, host: Host) => Block

/** Variants of the interfaces' results and errors, by their place in their declaration. */
const OK = 0
const ERROR = 1
const CONFIG_INVALID_KEY = 1
const KEY_VALUE_ACCESS_DENIED = 2
const HTTP_DESTINATION_NOT_ALLOWED = 1
const REDIS_ERROR = 1
const DATABASE_OTHER_ERROR = 5
const SQLITE_ACCESS_DENIED = 1
const LLM_MODEL_NOT_SUPPORTED = 0
/** Wasm Workers Server: its error is a record of a kind and a message. */
const WWS_NOT_ALLOWED = 1
const EXPERIMENTAL_INVALID_HANDLE = 1
const EXPERIMENTAL_DESTINATION_NOT_ALLOWED = 7

const UNAVAILABLE = 'not available on edgefn'
const nameBytesMax = 65_536

const decoder = new TextDecoder()

/** Answers through a record at the function's last parameter, with memory that the guest allocates (`result.ts`). */
function answering(owner: string, parameters: number, answer: Answer): HostFunctionBody {
  return (call, context, host) => {
    const address = call.u32(parameters - 1)
    let { pending } = context
    if (pending === null) {
      pending = new PendingResult(owner, address, answer(call, context, host))
    } else if (pending.isFor(owner, address)) {
      pending.take(host)
    } else {
      throw new Error(`${owner} was called while a result waits for memory.`)
    }
    context.pending = pending.proceed(host) ? null : pending
    return undefined
  }
}

/** A variable of the version, under its own name or in capitals, as Spin's variables are not. */
const getConfig: Answer = (call, context, host) => {
  const length = call.u32(1)
  const name =
    length > nameBytesMax ? '' : decoder.decode(host.memory.readBytes(call.u32(0), length))
  const { env } = context.fn
  const found = [name, name.toUpperCase()].find((each) => Object.hasOwn(env, each))
  if (found !== undefined)
    return record(16)
      .u8(0, OK)
      .text(4, env[found] ?? '')
  const message = `There is no variable ${JSON.stringify(name.slice(0, 100))}.`
  return record(16).u8(0, ERROR).u8(4, CONFIG_INVALID_KEY).text(8, message)
}

/** `expected<_, error>` of an error without content; `at` is where the result's payload begins. */
const refusal =
  (error: number, at: number): Answer =>
  () =>
    record(at + 1)
      .u8(0, ERROR)
      .u8(at, error)

/** `expected<_, error>` of an error with a message; `at` is where the result's payload begins. */
const refusalWithText =
  (error: number, at: number): Answer =>
  () =>
    record(at + 12)
      .u8(0, ERROR)
      .u8(at, error)
      .text(at + 4, UNAVAILABLE)

/** By module and name. Payloads begin at the alignment of the widest thing that they may hold. */
const ANSWERS: Readonly<Record<string, Readonly<Record<string, Answer>>>> = {
  'spin-config': { 'get-config': getConfig },
  'key-value': {
    open: refusal(KEY_VALUE_ACCESS_DENIED, 4),
    get: refusal(KEY_VALUE_ACCESS_DENIED, 4),
    set: refusal(KEY_VALUE_ACCESS_DENIED, 4),
    delete: refusal(KEY_VALUE_ACCESS_DENIED, 4),
    exists: refusal(KEY_VALUE_ACCESS_DENIED, 4),
    'get-keys': refusal(KEY_VALUE_ACCESS_DENIED, 4),
  },
  'wasi-outbound-http': { request: refusal(HTTP_DESTINATION_NOT_ALLOWED, 4) },
  'outbound-redis': {
    publish: refusal(REDIS_ERROR, 1),
    get: refusal(REDIS_ERROR, 4),
    set: refusal(REDIS_ERROR, 1),
    incr: refusal(REDIS_ERROR, 8),
    del: refusal(REDIS_ERROR, 8),
    sadd: refusal(REDIS_ERROR, 8),
    smembers: refusal(REDIS_ERROR, 4),
    srem: refusal(REDIS_ERROR, 8),
    execute: refusal(REDIS_ERROR, 4),
  },
  'outbound-pg': {
    query: refusalWithText(DATABASE_OTHER_ERROR, 4),
    execute: refusalWithText(DATABASE_OTHER_ERROR, 8),
  },
  'outbound-mysql': {
    query: refusalWithText(DATABASE_OTHER_ERROR, 4),
    execute: refusalWithText(DATABASE_OTHER_ERROR, 8),
  },
  sqlite: {
    open: refusal(SQLITE_ACCESS_DENIED, 4),
    execute: refusal(SQLITE_ACCESS_DENIED, 4),
  },
  llm: {
    infer: refusal(LLM_MODEL_NOT_SUPPORTED, 4),
    'generate-embeddings': refusal(LLM_MODEL_NOT_SUPPORTED, 4),
  },
  http: { 'send-http-request': refusalWithText(WWS_NOT_ALLOWED, 4) },
}

/** Functions that answer with a number, or with nothing: there is nothing to close. */
const PLAIN: Readonly<Record<string, HostFunctionTable>> = {
  'key-value': { close: () => undefined },
  sqlite: { close: () => undefined },
  wasi_experimental_http: {
    req: () => EXPERIMENTAL_DESTINATION_NOT_ALLOWED,
    close: () => EXPERIMENTAL_INVALID_HANDLE,
    header_get: () => EXPERIMENTAL_INVALID_HANDLE,
    headers_get_all: () => EXPERIMENTAL_INVALID_HANDLE,
    body_read: () => EXPERIMENTAL_INVALID_HANDLE,
  },
}

/** By import module, as the engine links them. */
export const SPIN_FUNCTIONS: Readonly<Record<string, HostFunctionTable>> = Object.fromEntries(
  Object.entries(SPIN_IMPORTS).map(([module, rows]) => {
    const answers = Object.entries(ANSWERS[module] ?? {}).map(([name, answer]) => {
      const row = rows.find(([each]) => each === name)
      const parameters = row?.[1].split(' ').length ?? 0
      return [name, answering(`${module}.${name}`, parameters, answer)] as const
    })
    return [module, { ...PLAIN[module], ...Object.fromEntries(answers) }]
  }),
)
