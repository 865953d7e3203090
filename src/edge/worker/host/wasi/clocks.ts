/** WASI: clocks, and waiting for them within the call's deadline. */

import { END_CALL } from '../../../../../ffi/host-module.ts'
import type { HostCall, HostResult } from '../../../../../ffi/host-module.ts'
import type { CallContext } from '../context.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from '../host.ts'
import { ERRNO } from './errno.ts'
import { RIGHT } from './streams.ts'

const CLOCK = { realtime: 0, monotonic: 1, process_cpu: 2, thread_cpu: 3 } as const
const EVENT = { clock: 0, fd_read: 1, fd_write: 2 } as const
const FLAG_ABSOLUTE = 1
/** Set on a read event when the writer has closed, which a request body always has. */
const FLAG_HANGUP = 1

/** All clocks are counted in nanoseconds by the system (`clock_getres`). */
const resolutionNs = 1n

const SUBSCRIPTION_BYTES = 48
const EVENT_BYTES = 32
const subscriptionsMax = 1024
/** Bytes that a write is said to take at once. */
const writableBytes = 65_536n

/** Milliseconds from which on waiting counts as rest: a guest that waits for less again and again does work. */
const restMsMin = 1

/** Nothing ever writes here: waiting on it is sleeping. */
const never = new Int32Array(new SharedArrayBuffer(4))

/** Nanoseconds of a WASI clock; null for clocks that do not exist. CPU clocks count the call's own time. */
function clockNs(id: number, context: CallContext, host: Host): bigint | null {
  switch (id) {
    case CLOCK.realtime:
      return host.libc.realtimeNs()
    case CLOCK.monotonic:
      return host.libc.monotonicNs()
    case CLOCK.process_cpu:
    case CLOCK.thread_cpu:
      return BigInt(Math.round((host.libc.monotonicMs() - context.startedMs) * 1e6))
    default:
      return null
  }
}

const clockTimeGet: HostFunctionBody = (call, context, host) => {
  const time = clockNs(call.u32(0), context, host)
  if (time === null) return ERRNO.inval
  host.memory.writeU64(call.i32(2), time)
  return ERRNO.success
}

const clockResGet: HostFunctionBody = (call, _context, host) => {
  if (call.u32(0) > CLOCK.thread_cpu) return ERRNO.inval
  host.memory.writeU64(call.i32(1), resolutionNs)
  return ERRNO.success
}

interface Subscription {
  readonly userdata: bigint
  readonly type: number
  /** Milliseconds from now; 0 for what is ready at once. */
  readonly waitMs: number
  readonly errno: number
  /** Bytes that can be read or written without waiting. */
  readonly bytes: bigint
  readonly flags: number
}

function readSubscription(at: number, context: CallContext, host: Host): Subscription {
  const { memory } = host
  const userdata = memory.readU64(at)
  const type = memory.readU8(at + 8)
  const ready = { userdata, type, waitMs: 0, errno: ERRNO.success, bytes: 0n, flags: 0 }
  if (type === EVENT.clock) {
    const timeout = memory.readU64(at + 24)
    const now = clockNs(memory.readU32(at + 16), context, host)
    if (now === null) return { ...ready, errno: ERRNO.inval }
    const absolute = (memory.readU16(at + 40) & FLAG_ABSOLUTE) !== 0
    const waitNs = absolute ? timeout - now : timeout
    return { ...ready, waitMs: waitNs > 0n ? Number(waitNs) / 1e6 : 0 }
  }
  if (type !== EVENT.fd_read && type !== EVENT.fd_write) return { ...ready, errno: ERRNO.inval }
  const needed = type === EVENT.fd_read ? RIGHT.read : RIGHT.write
  const stream = context.streams.at(memory.readU32(at + 16))
  if (stream === null || (stream.rights & needed) === 0n) return { ...ready, errno: ERRNO.badf }
  if (type === EVENT.fd_write) return { ...ready, bytes: writableBytes }
  const left = context.stdin.length - context.stdinOffset
  return { ...ready, bytes: BigInt(left), flags: FLAG_HANGUP }
}

function writeEvent(at: number, subscription: Subscription, host: Host): void {
  const { memory } = host
  memory.writeU64(at, subscription.userdata)
  memory.writeU16(at + 8, subscription.errno)
  memory.writeU8(at + 10, subscription.type)
  memory.writeU64(at + 16, subscription.bytes)
  memory.writeU64(at + 24, BigInt(subscription.flags))
}

/** Sleeps until the monotonic clock has passed `untilMs`; a sleep by itself may end a little early. */
function sleepUntil(untilMs: number, context: CallContext, host: Host): void {
  const { monotonicMs } = host.libc
  context.sleptMs += Math.max(untilMs - monotonicMs(), 0)
  if (untilMs - monotonicMs() < restMsMin) return waitUntil(untilMs, host)
  host.sleeping(
    () => context.deadlineMs - monotonicMs(),
    () => waitUntil(untilMs, host),
  )
}

function waitUntil(untilMs: number, host: Host): void {
  for (;;) {
    const leftMs = untilMs - host.libc.monotonicMs()
    if (leftMs <= 0) return
    Atomics.wait(never, 0, 0, leftMs)
  }
}

/** Waits for the earliest of the subscriptions; a wait that would pass the deadline ends the call there. */
function pollOneoff(call: HostCall, context: CallContext, host: Host): HostResult {
  const count = call.u32(2)
  if (count === 0 || count > subscriptionsMax) return ERRNO.inval
  const subscriptions = Array.from({ length: count }, (_, index) =>
    readSubscription(call.u32(0) + index * SUBSCRIPTION_BYTES, context, host),
  )
  // A program is told of a bad pointer before it has waited, not after.
  host.memory.require(call.u32(1), count * EVENT_BYTES)
  host.memory.require(call.u32(3), 4)
  const waitMs = Math.min(...subscriptions.map((subscription) => subscription.waitMs))
  if (waitMs >= restMsMin && !host.maySleep) {
    context.end = 'sleep'
    return END_CALL
  }
  const untilMs = host.libc.monotonicMs() + waitMs
  sleepUntil(Math.min(untilMs, context.deadlineMs), context, host)
  if (untilMs >= context.deadlineMs) {
    context.end = 'deadline'
    return END_CALL
  }
  const events = subscriptions.filter((subscription) => subscription.waitMs <= waitMs)
  events.forEach((event, index) => writeEvent(call.u32(1) + index * EVENT_BYTES, event, host))
  host.memory.writeU32(call.u32(3), events.length)
  return ERRNO.success
}

export const CLOCK_FUNCTIONS: HostFunctionTable = {
  clock_res_get: clockResGet,
  clock_time_get: clockTimeGet,
  poll_oneoff: pollOneoff,
}
