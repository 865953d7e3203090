/**
 * Host functions of Spin 1.x modules, and of the other modules that wit-bindgen 0.2 was used for. What edgefn has is
 * answered; every other one answers with its own error, so that modules start whatever they were linked with.
 */

import { SPIN_IMPORTS } from '../../../../wasm/spin-imports.ts'
import type { HostFunctionTable } from '../host.ts'
import type { Answer } from './answer.ts'
import { answering, OK, refusal, refusalWithText } from './answer.ts'
import { EXPERIMENTAL_HTTP_FUNCTIONS } from './experimental-http.ts'
import { spinRequest, wwsRequest } from './http.ts'
import { exists, get, getKeys, open, remove, set } from './key-value.ts'
import { record } from './result.ts'

/** Errors of the interfaces, by their place in their declaration. */
const CONFIG_INVALID_KEY = 1
const REDIS_ERROR = 1
const DATABASE_OTHER_ERROR = 5
const SQLITE_ACCESS_DENIED = 1
const LLM_MODEL_NOT_SUPPORTED = 0

const UNAVAILABLE = 'not available on edgefn'
const nameBytesMax = 65_536

const decoder = new TextDecoder()

/** A variable of the version, under its own name or in capitals, as Spin's variables are not. */
const getConfig: Answer = (call, context, host) => {
  const length = call.u32(1)
  const name =
    length > nameBytesMax ? '' : decoder.decode(host.memory.readBytes(call.u32(0), length))
  const { env } = context.fn
  const found = [name, name.toUpperCase()].find((each) => Object.hasOwn(env, each))
  if (found !== undefined) {
    return record(16)
      .u8(0, OK)
      .text(4, env[found] ?? '')
  }
  const message = `There is no variable ${JSON.stringify(name.slice(0, 100))}.`
  return refusalWithText(CONFIG_INVALID_KEY, 4, message)
}

/** The answers of what edgefn does not have; payloads begin at the alignment of the widest thing that they may hold. */
const without =
  (error: number, at: number): Answer =>
  () =>
    refusal(error, at)
const withoutDatabase =
  (at: number): Answer =>
  () =>
    refusalWithText(DATABASE_OTHER_ERROR, at, UNAVAILABLE)

/** By module and name. */
const ANSWERS: Readonly<Record<string, Readonly<Record<string, Answer>>>> = {
  'spin-config': { 'get-config': getConfig },
  'key-value': { open, get, set, delete: remove, exists, 'get-keys': getKeys },
  'wasi-outbound-http': { request: spinRequest },
  http: { 'send-http-request': wwsRequest },
  'outbound-redis': {
    publish: without(REDIS_ERROR, 1),
    get: without(REDIS_ERROR, 4),
    set: without(REDIS_ERROR, 1),
    incr: without(REDIS_ERROR, 8),
    del: without(REDIS_ERROR, 8),
    sadd: without(REDIS_ERROR, 8),
    smembers: without(REDIS_ERROR, 4),
    srem: without(REDIS_ERROR, 8),
    execute: without(REDIS_ERROR, 4),
  },
  'outbound-pg': { query: withoutDatabase(4), execute: withoutDatabase(8) },
  'outbound-mysql': { query: withoutDatabase(4), execute: withoutDatabase(8) },
  sqlite: { open: without(SQLITE_ACCESS_DENIED, 4), execute: without(SQLITE_ACCESS_DENIED, 4) },
  llm: {
    infer: without(LLM_MODEL_NOT_SUPPORTED, 4),
    'generate-embeddings': without(LLM_MODEL_NOT_SUPPORTED, 4),
  },
}

/** Functions that answer with a number, or with nothing: there is nothing to close. */
const PLAIN: Readonly<Record<string, HostFunctionTable>> = {
  'key-value': { close: () => undefined },
  sqlite: { close: () => undefined },
  wasi_experimental_http: EXPERIMENTAL_HTTP_FUNCTIONS,
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
