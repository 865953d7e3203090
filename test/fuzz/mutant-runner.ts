/**
 * A process of its own that calls the modules of a folder in a real runtime, so that a crash is seen from outside and the
 * module that was running is known. Usage: bun test/fuzz/mutant-runner.ts FOLDER; writes what it runs to FOLDER/running.
 */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { request, startRuntime } from '../edge/worker/runtime/harness.ts'

/** Milliseconds of a call; a mutant that loops costs as much. */
const callMs = 15
/** Modules that are called at the same time, so that one may hurt another. */
const atOnce = 3
const callsEach = 2

const [folder = ''] = Bun.argv.slice(2)
const files = readdirSync(folder).filter((name) => name.endsWith('.wasm'))
const runtime = await startRuntime(atOnce)
const outcomes: Record<string, number> = {}
const running = new Set<string>()

function count(outcome: string): void {
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
}

async function run(file: string): Promise<void> {
  running.add(file)
  writeFileSync(join(folder, 'running'), [...running].join('\n'))
  const fn = runtime.module(new Uint8Array(readFileSync(join(folder, file))), {
    max_execution_ms: callMs,
    memory_pages: 32,
  })
  for (let call = 0; call < callsEach; call += 1) {
    const body = new TextEncoder().encode('{"n":7}'.repeat(call * 700))
    const target = ['/echo?x=1', '/status/418'][call] ?? '/'
    const outcome = await runtime.invoker.invoke(fn, request(target, { method: 'POST', body }))
    count(outcome.ok ? 'answered' : outcome.code)
  }
  runtime.invoker.assign([])
  running.delete(file)
}

async function runNext(): Promise<void> {
  for (let file = files.pop(); file !== undefined; file = files.pop()) await run(file)
}

await Promise.all(Array.from({ length: atOnce }, runNext))
const rss_bytes = process.memoryUsage().rss
await runtime.close()
process.stdout.write(JSON.stringify({ outcomes, defects: runtime.defects, rss_bytes }))
process.exit(0)
