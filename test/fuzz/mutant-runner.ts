/**
 * A process of its own that calls the modules of a folder in a real runtime, so that a crash is seen from outside and the
 * module that was running is known. Every so many are compiled as well and must do the same. Writes what it runs to
 * FOLDER/running. Usage: bun test/fuzz/mutant-runner.ts FOLDER COMPILE_EVERY
 */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { WorkerFunction } from '../../src/edge/ipc.ts'
import type { Outcome } from '../../src/edge/worker/call.ts'
import { request, startRuntime } from '../edge/worker/runtime/harness.ts'

/** Milliseconds of a call; a mutant that loops costs as much. */
const callMs = 15
/** Modules that are called at the same time, so that one may hurt another. */
const atOnce = 3
const TARGETS = ['/echo?x=1', '/status/418']

const [folder = '', compileEvery = '16'] = Bun.argv.slice(2)
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.wasm'))
  .toSorted()
  .map((name, at) => ({ name, at }))
const runtime = await startRuntime(atOnce)
const outcomes: Record<string, number> = {}
const running = new Set<string>()
const problems: string[] = []
let compiled = 0

/** Functions that are being called; others are given up, with their instances. */
const called = new Set<WorkerFunction>()

/** Calls an instance that nobody has called before; its outcomes in short. */
async function callAll(fn: WorkerFunction): Promise<string[]> {
  called.add(fn)
  const seen: string[] = []
  for (const [at, target] of TARGETS.entries()) {
    const body = new TextEncoder().encode('{"n":7}'.repeat(at * 700))
    const outcome = await runtime.invoker.invoke(fn, request(target, { method: 'POST', body }))
    const code = outcome.ok ? 'answered' : outcome.code
    outcomes[code] = (outcomes[code] ?? 0) + 1
    seen.push(summary(outcome))
  }
  called.delete(fn)
  runtime.invoker.assign([...called])
  return seen
}

function summary(outcome: Outcome): string {
  if (!outcome.ok) return outcome.code
  const { status, headers, body } = outcome.response
  return `${status} ${JSON.stringify(headers)} ${Bun.hash(body).toString(16)}`
}

/** How long a call may take, and how much stack it has, are not the same in both forms. */
const MAY_DIFFER = ['execution_timeout', 'stack_overflow']

/** Whether two runs differ, up to the first call after which their instances need not be the same any more. */
function differ(first: readonly string[], second: readonly string[]): boolean {
  for (const [call, was] of first.entries()) {
    const is = second[call] ?? ''
    if (MAY_DIFFER.includes(was) || MAY_DIFFER.includes(is)) return false
    if (was !== is) return true
  }
  return false
}

async function compare(fn: WorkerFunction, file: string, at: number): Promise<void> {
  const level = at % 2 === 0 ? 'O0' : 'O2'
  const first = await callAll(fn)
  const second = await callAll(await runtime.compiled(fn, level))
  compiled += 1
  if (!differ(first, second)) return
  // One that looks at the clock or at random numbers differs from itself as well.
  const again = await callAll(fn)
  if (differ(first, again)) return
  problems.push(
    `${file} answers ${first.join(' | ')} interpreted, ${second.join(' | ')} at ${level}`,
  )
}

async function run(file: string, at: number): Promise<void> {
  running.add(file)
  writeFileSync(join(folder, 'running'), [...running].join('\n'))
  const bytes = new Uint8Array(readFileSync(join(folder, file)))
  const fn = runtime.module(bytes, { max_execution_ms: callMs, memory_pages: 32 })
  if (at % Number(compileEvery) === 0) await compare(fn, file, at)
  else await callAll(fn)
  running.delete(file)
}

async function runNext(): Promise<void> {
  for (let next = files.pop(); next !== undefined; next = files.pop()) await run(next.name, next.at)
}

await Promise.all(Array.from({ length: atOnce }, runNext))
const rss_bytes = process.memoryUsage().rss
await runtime.close()
problems.push(...runtime.defects)
process.stdout.write(JSON.stringify({ outcomes, compiled, problems, rss_bytes }))
process.exit(0)
