/** Spin's `key-value`: its store "default" is the function's own keys on its node, those of `kv_get` and `kv_put`. */

import { LIMITS } from '../../../../protocol/limits.ts'
import type { CallContext } from '../context.ts'
import type { Host } from '../host.ts'
import { inStore } from '../kv/functions.ts'
import { KvUnavailable } from '../kv/open-stores.ts'
import type { KvStore, Late } from '../kv/store.ts'
import type { Answer } from './answer.ts'
import { OK, refusal, refusalWithText } from './answer.ts'
import { Block, record } from './result.ts'

/** `error` of the interface, by place. */
const NO_SUCH_STORE = 1
const INVALID_STORE = 3
const NO_SUCH_KEY = 4
const IO = 5

/** Handles mean something for the call only, and there is but one store. */
const DEFAULT_STORE = 'default'
const DEFAULT_HANDLE = 0

/** Keys of one answer; the interface has no pages. */
const keysMax = 10_000
const STRING_BYTES = 8

const encoder = new TextEncoder()

export const open: Answer = (call, _context, host) => {
  const name = encoder.encode(DEFAULT_STORE)
  const isDefault =
    call.u32(1) === name.length &&
    Buffer.compare(host.memory.readBytes(call.u32(0), name.length), name) === 0
  if (!isDefault) return refusal(NO_SUCH_STORE, 4)
  return record(16).u8(0, OK).u32(4, DEFAULT_HANDLE)
}

type Work = (store: KvStore, nowMs: number, late: Late) => Block

/** Does `work` when the handle is that of the store; what the node cannot do now is an `io` error. */
function withDefault(handle: number, context: CallContext, host: Host, work: Work): Block | null {
  if (handle !== DEFAULT_HANDLE) return refusal(INVALID_STORE, 4)
  try {
    return inStore(context, host, work)
  } catch (thrown) {
    if (thrown instanceof KvUnavailable) return failed('the store cannot be used now')
    throw thrown
  }
}

const failed = (message: string) => refusalWithText(IO, 4, message)

/** The same with the key in parameters 1 and 2, which is looked at before it is copied. */
function withKey(work: (key: Uint8Array, ...rest: Parameters<Work>) => Block): Answer {
  return (call, context, host) => {
    const length = call.u32(2)
    if (length === 0) return failed('a key has at least one byte')
    if (length > LIMITS.kvKeyBytesMax)
      return failed(`a key has at most ${LIMITS.kvKeyBytesMax} bytes`)
    const key = host.memory.readBytes(call.u32(1), length)
    return withDefault(call.u32(0), context, host, (...rest) => work(key, ...rest))
  }
}

export const get: Answer = withKey((key, store, nowMs) => {
  const value = store.get(key, nowMs)
  return value === null ? refusal(NO_SUCH_KEY, 4) : record(16).u8(0, OK).data(4, value)
})

export const exists: Answer = withKey((key, store, nowMs) =>
  record(16)
    .u8(0, OK)
    .u8(4, store.get(key, nowMs) === null ? 0 : 1),
)

export const remove: Answer = withKey((key, store, nowMs) => {
  store.delete(key, nowMs)
  return record(16).u8(0, OK)
})

export const set: Answer = (call, context, host) => {
  const length = call.u32(4)
  if (length > LIMITS.kvValueBytesMax) {
    return failed(`a value has at most ${LIMITS.kvValueBytesMax} bytes`)
  }
  const value = host.memory.readBytes(call.u32(3), length)
  if (host.kv.diskFull) return failed('the disk is full')
  const put = withKey((key, store, nowMs, late) =>
    store.put(key, value, null, nowMs, late) ? record(16).u8(0, OK) : failed('the store is full'),
  )
  return put(call, context, host)
}

export const getKeys: Answer = (call, context, host) =>
  withDefault(call.u32(0), context, host, (store, nowMs, late) => {
    const keys: Uint8Array[] = []
    store.list(new Uint8Array(0), new Uint8Array(0), nowMs, late, (key) => {
      keys.push(key)
      return keys.length <= keysMax
    })
    if (keys.length > keysMax) return failed(`the store has more than ${keysMax} keys`)
    const list = new Block(new Uint8Array(keys.length * STRING_BYTES), 4)
    keys.forEach((key, index) => list.data(index * STRING_BYTES, key))
    return record(16).u8(0, OK).list(4, list, keys.length)
  })
