/**
 * Stops random guests at random moments, again and again, beside a neighbour whose every answer is checked. Run by a test with
 * few kills and by `scripts/kill-storm` with as many as wanted.
 */

import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import { answer, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { numberGuest } from './wat.ts'

const IMPORTS = `
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "edgefn" "log" (func $log (param i32 i32 i32)))
  (import "edgefn" "kv_get" (func $kv_get (param i32 i32 i32 i32) (result i32)))`

/** Guests that never end by themselves, by what they are doing when they are stopped. */
export const ENDLESS: Readonly<Record<string, readonly [body: string, fields?: string]>> = {
  'a tight loop': ['(loop $l (br $l)) (i32.const 0)'],
  'a loop over memory': [
    `(loop $l (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1))) (br $l)) (i32.const 0)`,
  ],
  'calls of the host': [
    '(loop $l (drop (call $yield)) (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 64))) (br $l)) (i32.const 0)',
  ],
  'calls of the host through a table': [
    '(loop $l (drop (call_indirect (result i32) (i32.const 0))) (br $l)) (i32.const 0)',
    '(table 1 funcref) (elem (i32.const 0) $yield)',
  ],
  'host calls that take their time': [
    '(loop $l (drop (call $random (i32.const 0) (i32.const 65536))) (br $l)) (i32.const 0)',
  ],
  logging: [
    '(loop $l (call $log (i32.const 1) (i32.const 0) (i32.const 200)) (br $l)) (i32.const 0)',
  ],
  keys: [
    '(loop $l (drop (call $kv_get (i32.const 0) (i32.const 8) (i32.const 64) (i32.const 64))) (br $l)) (i32.const 0)',
  ],
  'growing memory': [
    '(loop $l (drop (memory.grow (i32.const 1))) (drop (memory.size)) (br $l)) (i32.const 0)',
  ],
  'filling memory': [
    '(loop $l (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536)) (br $l)) (i32.const 0)',
  ],
  'recursion that comes back': [
    '(loop $l (drop (call $down (i32.const 5000))) (br $l)) (i32.const 0)',
    `(func $down (param i32) (result i32) (if (result i32) (local.get 0)
       (then (i32.rotl (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 3))) (else (i32.const 1))))`,
  ],
  'calls that fan out': [
    '(loop $l (call $f0) (br $l)) (i32.const 0)',
    Array.from({ length: 24 }, (_, i) =>
      i === 23
        ? `(func $f${i} (i32.store (i32.const 2048) (i32.const ${i})))`
        : `(func $f${i} (call $f${i + 1}) (call $f${i + 1}))`,
    ).join(' '),
  ],
  divisions: [
    `(loop $l (br_if $l (i32.ne (i32.rem_u (i32.load (i32.const 2048)) (i32.const 7)) (i32.const 9)))) (i32.const 0)`,
  ],
  'floating point': [
    `(loop $l (f64.store (i32.const 2048) (f64.sqrt (f64.add (f64.load (i32.const 2048)) (f64.const 1.5)))) (br $l)) (i32.const 0)`,
  ],
  waiting: [
    `(i32.store8 (i32.const 64) (i32.const 0)) (i32.store (i32.const 80) (i32.const 1))
     (i64.store (i32.const 88) (i64.const 50000000))
     (loop $l (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256))) (br $l)) (i32.const 0)`,
  ],
}

export interface StormResult {
  readonly kills: number
  /** Calls of the neighbour, each answered as it had to be. */
  readonly neighbourCalls: number
  /** Milliseconds past its deadline after which a guest was back. */
  readonly lateMs: { readonly p50: number; readonly p99: number; readonly max: number }
  readonly defects: readonly string[]
}

/** A seeded generator (mulberry32): numbers from 0 to 1. */
export function seeded(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Kills guests of all kinds in the given forms. Throws when a guest is not stopped, or the neighbour is not served right. */
export async function killStorm(
  kills: number,
  seed: number,
  tiers: readonly ('interpreted' | 'O0' | 'O2')[],
): Promise<StormResult> {
  const runtime = await startRuntime(4)
  try {
    const random = seeded(seed)
    const guests: WorkerFunction[] = []
    for (const [body, fields] of Object.values(ENDLESS)) {
      const fn = runtime.module(numberGuest(body, `${IMPORTS} ${fields ?? ''}`))
      for (const tier of tiers) guests.push(await runtime.compiled(fn, tier))
    }
    const lateness: number[] = []
    let left = kills
    const victims = Array.from({ length: 3 }, async () => {
      while (left > 0) {
        left -= 1
        const picked = guests[Math.floor(random() * guests.length)] as WorkerFunction
        const limitMs = 1 + Math.floor(random() * 12)
        const outcome = await runtime.invoker.invoke(
          { ...picked, max_execution_ms: limitMs },
          request('/'),
        )
        if (outcome.ok || outcome.code !== 'execution_timeout') {
          throw new Error(
            `A guest ended as ${outcome.ok ? 'ok' : `${outcome.code}: ${outcome.message}`}.`,
          )
        }
        lateness.push(outcome.execution_ms - limitMs)
      }
    })
    const neighbourCalls = await neighbour(runtime, tiers, Promise.all(victims), () => left > 0)
    lateness.sort((a, b) => a - b)
    const at = (share: number) => lateness[Math.floor(share * (lateness.length - 1))] ?? 0
    return {
      kills: lateness.length,
      neighbourCalls,
      lateMs: { p50: at(0.5), p99: at(0.99), max: at(1) },
      defects: runtime.defects,
    }
  } finally {
    await runtime.close()
  }
}

/** Calls a function that keeps a checksum in its memory, and compares it with what it must be, while `more` holds. */
async function neighbour(
  runtime: RuntimeHarness,
  tiers: readonly ('interpreted' | 'O0' | 'O2')[],
  victims: Promise<unknown>,
  more: () => boolean,
): Promise<number> {
  const body = `(block (result i32)
    (i32.store (i32.const 1024) (i32.add (i32.mul (i32.load (i32.const 1024)) (i32.const 31)) (i32.const 7)))
    (i32.load (i32.const 1024)))`
  const fn = await runtime.compiled(
    runtime.module(numberGuest(body), { max_execution_ms: 10_000 }),
    tiers.at(-1) ?? 'interpreted',
  )
  let calls = 0
  // Instances of a pool have their own memory: any value of the sequence is right, any other is not.
  const sequence = new Set<number>()
  let value = 0
  const done = victims.then(() => false)
  for (let going = true; going && more(); calls += 1) {
    value = (Math.imul(value, 31) + 7) >>> 0
    sequence.add(value)
    const { text } = answer(await runtime.invoker.invoke(fn, request('/')))
    if (!sequence.has(Number(text))) throw new Error(`The neighbour answered ${text}.`)
    going = await Promise.race([done, Promise.resolve(true)])
  }
  await victims
  return calls
}
