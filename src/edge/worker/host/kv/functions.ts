/** Host functions `kv_get`, `kv_put`, `kv_delete`, `kv_list`: keys that a function keeps on its node (docs/GUEST-ABI.md). */

import type { HostCall, HostResult } from '../../../../../ffi/host-module.ts'
import { END_CALL } from '../../../../../ffi/host-module.ts'
import { LIMITS } from '../../../../protocol/limits.ts'
import type { CallContext } from '../context.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from '../host.ts'
import { fill, RESULTS } from '../result.ts'
import { KvLate, KvUnavailable } from './open-stores.ts'
import type { KvStore, Late } from './store.ts'

/** Bytes before each key of a page: its length, little-endian. */
const LENGTH_BYTES = 4

/**
 * Does `work` with the function's own store; null when the deadline passes meanwhile, and the call is to be ended there.
 * Throws KvUnavailable.
 */
export function inStore<T>(
  context: CallContext,
  host: Host,
  work: (store: KvStore, nowMs: number, late: Late) => T,
): T | null {
  const leftMs = () => context.deadlineMs - host.libc.monotonicMs()
  const late = () => leftMs() <= 0
  try {
    const result = host.kv.use(context.fn.function_id, context, { leftMs }, (store) =>
      work(store, Date.now(), late),
    )
    if (!late()) return result
  } catch (thrown) {
    if (!(thrown instanceof KvLate)) throw thrown
  }
  context.end = 'deadline'
  return null
}

/** The same for host functions of edgefn's own, which answer with a number. */
function withStore(
  context: CallContext,
  host: Host,
  work: (store: KvStore, nowMs: number, late: Late) => number,
): HostResult {
  try {
    return inStore(context, host, work) ?? END_CALL
  } catch (thrown) {
    if (thrown instanceof KvUnavailable) return RESULTS.unavailable
    throw thrown
  }
}

/** The key in arguments 0 and 1, or the result that refuses it: before it is copied, however long it says it is. */
function readKey(call: HostCall, host: Host): Uint8Array<ArrayBuffer> | number {
  const length = call.u32(1)
  if (length === 0) return RESULTS.invalid
  if (length > LIMITS.kvKeyBytesMax) return RESULTS.tooLarge
  return host.memory.readBytes(call.i32(0), length)
}

const kvGet: HostFunctionBody = (call, context, host) => {
  const key = readKey(call, host)
  if (typeof key === 'number') return key
  return withStore(context, host, (store, nowMs) => {
    const value = store.get(key, nowMs)
    return value === null ? RESULTS.notFound : fill(host, call.i32(2), call.i32(3), value)
  })
}

const kvPut: HostFunctionBody = (call, context, host) => {
  const key = readKey(call, host)
  if (typeof key === 'number') return key
  const length = call.u32(3)
  const ttlSeconds = call.i32(4)
  if (ttlSeconds < 0) return RESULTS.invalid
  if (length > LIMITS.kvValueBytesMax) return RESULTS.tooLarge
  const value = host.memory.readBytes(call.i32(2), length)
  if (host.kv.diskFull) return RESULTS.unavailable
  return withStore(context, host, (store, nowMs, late) => {
    const expiresAt = ttlSeconds === 0 ? null : nowMs + ttlSeconds * 1000
    return store.put(key, value, expiresAt, nowMs, late) ? 0 : RESULTS.quotaFull
  })
}

const kvDelete: HostFunctionBody = (call, context, host) => {
  const key = readKey(call, host)
  if (typeof key === 'number') return key
  return withStore(context, host, (store, nowMs) =>
    store.delete(key, nowMs) ? 0 : RESULTS.notFound,
  )
}

/** Writes a page of whole keys after the cursor. What the next key alone would need is the result when `cap` is less. */
const kvList: HostFunctionBody = (call, context, host) => {
  const [prefixLength, cursorLength, capacity] = [call.u32(1), call.u32(3), call.u32(5)]
  if (prefixLength > LIMITS.kvKeyBytesMax || cursorLength > LIMITS.kvKeyBytesMax) {
    return RESULTS.tooLarge
  }
  const prefix = host.memory.readBytes(call.i32(0), prefixLength)
  const cursor = host.memory.readBytes(call.i32(2), cursorLength)
  return withStore(context, host, (store, nowMs, late) => {
    const keys: Uint8Array[] = []
    let bytes = 0
    let firstBytes = 0
    store.list(prefix, cursor, nowMs, late, (key) => {
      const needed = LENGTH_BYTES + key.length
      if (keys.length === 0) firstBytes = needed
      if (bytes + needed > capacity) return false
      keys.push(key)
      bytes += needed
      return keys.length < LIMITS.kvListKeysMax
    })
    if (keys.length === 0) return firstBytes
    host.memory.writeBytes(call.i32(4), page(keys, bytes))
    return bytes
  })
}

function page(keys: readonly Uint8Array[], bytes: number): Uint8Array {
  const written = new Uint8Array(bytes)
  const view = new DataView(written.buffer)
  let at = 0
  for (const key of keys) {
    view.setUint32(at, key.length, true)
    written.set(key, at + LENGTH_BYTES)
    at += LENGTH_BYTES + key.length
  }
  return written
}

export const KV_FUNCTIONS: HostFunctionTable = {
  kv_get: kvGet,
  kv_put: kvPut,
  kv_delete: kvDelete,
  kv_list: kvList,
}
