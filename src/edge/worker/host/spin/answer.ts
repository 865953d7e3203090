/** How host functions of lowered interfaces are written: each makes the record of its result. */

import type { HostCall } from '../../../../../ffi/host-module.ts'
import { END_CALL } from '../../../../../ffi/host-module.ts'
import { LIMITS } from '../../../../protocol/limits.ts'
import type { CallContext } from '../context.ts'
import type { Host, HostFunctionBody } from '../host.ts'
import { Block, PendingResult, record } from './result.ts'

/** Variants of `expected<value, error>`. */
export const OK = 0
export const ERROR = 1

/** `tuple<string, string>`: two addresses, each with a length. */
export const PAIR_BYTES = 16

/** The record of a result; null when the call is to be ended. May throw for what is not in the guest's memory. */
export type Answer = (call: HostCall, context: CallContext, host: Host) => Block | null

/** Answers through a record at the function's last parameter, with memory that the guest allocates (`result.ts`). */
export function answering(owner: string, parameters: number, answer: Answer): HostFunctionBody {
  return (call, context, host) => {
    const address = call.u32(parameters - 1)
    let { pending } = context
    if (pending === null) {
      const result = answer(call, context, host)
      if (result === null) return END_CALL
      pending = new PendingResult(owner, address, result)
    } else if (pending.isFor(owner, address)) {
      pending.take(host)
    } else {
      throw new Error(`${owner} was called while a result waits for memory.`)
    }
    context.pending = pending.proceed(host) ? null : pending
    return undefined
  }
}

/** `expected<_, error>` of an error without content; `at` is where the result's payload begins. */
export function refusal(error: number, at: number): Block {
  return record(at + 1)
    .u8(0, ERROR)
    .u8(at, error)
}

/** The same of an error with a message. */
export function refusalWithText(error: number, at: number, message: string): Block {
  return record(at + 12)
    .u8(0, ERROR)
    .u8(at, error)
    .text(at + 4, message)
}

/** The guest's list of pairs of strings, one character per byte; null when it is over what a request's head may have. */
export function readPairs(host: Host, at: number, length: number): [string, string][] | null {
  if (length > LIMITS.fetchHeadersMax) return null
  let bytes = 0
  const pairs: [string, string][] = []
  for (let index = 0; index < length; index++) {
    const pair = [0, 8].map((side) => {
      const part = at + index * PAIR_BYTES + side
      return [host.memory.readU32(part), host.memory.readU32(part + 4)] as const
    })
    bytes += pair.reduce((sum, [, size]) => sum + size, 0)
    if (bytes > LIMITS.fetchRequestHeadBytesMax) return null
    const [name = '', value = ''] = pair.map(([from, size]) =>
      Buffer.from(host.memory.readBytes(from, size)).toString('latin1'),
    )
    pairs.push([name, value])
  }
  return pairs
}

/** A list of pairs of strings of one character per byte. */
export function pairList(pairs: readonly (readonly [string, string])[]): Block {
  const list = new Block(new Uint8Array(pairs.length * PAIR_BYTES), 4)
  for (const [index, pair] of pairs.entries()) {
    for (const [side, text] of pair.entries()) {
      list.data(index * PAIR_BYTES + side * 8, new Uint8Array(Buffer.from(text, 'latin1')))
    }
  }
  return list
}
