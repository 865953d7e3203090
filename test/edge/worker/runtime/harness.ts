/** A real invoker over real threads and real libwasmedge, and the built guests, for tests of the runtime. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { openLibc } from '../../../../ffi/libc.ts'
import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import { workerFunctionSchema } from '../../../../src/edge/ipc.ts'
import { StatsFile } from '../../../../src/edge/stats.ts'
import { RunningFile } from '../../../../src/edge/running.ts'
import { VerdictFile } from '../../../../src/edge/verdicts.ts'
import type { GuestRequest, Invoker, Outcome } from '../../../../src/edge/worker/call.ts'
import { headerLines } from '../../../../src/edge/worker/header-lines.ts'
import { createInvoker } from '../../../../src/edge/worker/pool/invoker.ts'
import { checkModule } from '../../../../src/wasm/check.ts'
import { TestCompiler } from '../../compile/test-compiler.ts'
import type { CompileLevel } from '../../../../src/edge/compiled.ts'
import { hostOptionsIn } from './host-options.ts'

const { monotonicMs } = openLibc()

const GUESTS = resolve(import.meta.dir, '../../../guests/build')
const ENTRY = resolve(import.meta.dir, '../../../../src/main.ts')

export interface RuntimeHarness {
  readonly invoker: Invoker
  /** Where the host functions keep what they keep (`host-options.ts`). */
  readonly dir: string
  readonly engine: string
  readonly stats: StatsFile
  /** As the agent writes it and the dispatcher reads it. */
  readonly verdicts: VerdictFile
  /** As the threads write it and the agent reads it; the only seat is 0. */
  readonly running: RunningFile
  readonly defects: string[]
  /** A guest by name, ready to be called, with limits changed as given. */
  guest(name: string, changes?: Partial<WorkerFunction>): Promise<WorkerFunction>
  /** The same for a module given as bytes. */
  module(bytes: Uint8Array<ArrayBuffer>, changes?: Partial<WorkerFunction>): WorkerFunction
  /** The function in its compiled form; itself for `interpreted`. */
  compiled(fn: WorkerFunction, level: CompileLevel | 'interpreted'): Promise<WorkerFunction>
  close(): Promise<void>
}

/** Fetches may reach `fetchAllowPrivate` besides public addresses. */
export async function startRuntime(
  threadsMax = 4,
  poolBytesMax = 2 ** 30,
  fetchAllowPrivate: readonly string[] = [],
): Promise<RuntimeHarness> {
  const dir = mkdtempSync(join(tmpdir(), 'edgefn-runtime-'))
  const stats = new StatsFile(join(dir, 'stats'))
  const verdicts = new VerdictFile(join(dir, 'verdicts'))
  const defects: string[] = []
  const compiler = new TestCompiler(dir)
  const { invoker, engine } = await createInvoker({
    entry: ENTRY,
    threads_max: threadsMax,
    stats,
    pool_bytes_max: poolBytesMax,
    host: hostOptionsIn(dir),
    fetch_allow_private: fetchAllowPrivate,
    running: { path: join(dir, 'running'), seats: 1, seat: 0 },
    verdicts,
    compile_key: compiler.publicKey,
    onDefect: (reason) => defects.push(reason),
  })
  let slot = 0
  function module(
    uploaded: Uint8Array<ArrayBuffer>,
    changes: Partial<WorkerFunction> = {},
  ): WorkerFunction {
    const asked = { entrypoint: changes.entrypoint ?? 'handle', abi: changes.abi ?? null }
    const { normalised, abi, entrypoint } = checkModule(uploaded, { ...asked, memory_pages: 256 })
    const path = join(dir, `${slot}.wasm`)
    writeFileSync(path, normalised)
    slot += 1
    const function_id = Bun.randomUUIDv7()
    return workerFunctionSchema.parse({
      function_id,
      key: changes.function_id ?? function_id,
      split: null,
      deployment_id: Bun.randomUUIDv7(),
      name: 'guest',
      version: 1,
      abi,
      memory_pages: 64,
      max_execution_ms: 2000,
      quotas: {},
      env: {},
      sha256: new Bun.CryptoHasher('sha256').update(normalised).digest('hex'),
      size_bytes: normalised.length,
      slot,
      quota_slot: slot,
      path,
      compiled: null,
      ...changes,
      entrypoint,
    })
  }
  return {
    invoker,
    dir,
    engine,
    stats,
    verdicts,
    running: new RunningFile(join(dir, 'running'), 1),
    defects,
    module,
    async guest(name, changes = {}) {
      const bytes = await Bun.file(join(GUESTS, `${name}.wasm`)).arrayBuffer()
      return module(new Uint8Array(bytes), { name, ...changes })
    },
    async compiled(fn, level) {
      return level === 'interpreted' ? fn : await compiler.compile(fn, level)
    },
    async close() {
      await invoker.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** What a test says of its request; header fields as pairs. */
export type RequestChanges = Partial<Omit<GuestRequest, 'header_lines'>> & {
  readonly headers?: readonly (readonly [string, string])[]
}

/** A request as ingress would hand it on. */
export function request(
  target: string,
  { headers, ...changes }: RequestChanges = {},
): GuestRequest {
  return {
    request_id: 'test-request-1',
    method: 'GET',
    target,
    header_lines: headerLines(headers ?? [['host', 'example.com']]),
    body: new Uint8Array(0),
    remote_address: '127.0.0.1',
    remote_port: 4711,
    server_name: 'example.com',
    server_port: 80,
    scheme: 'http',
    protocol: 'HTTP/1.1',
    route_path: '/',
    route_type: 'prefix',
    admitted_ms: monotonicMs(),
    log_messages_max: 1000,
    ...changes,
  }
}

/** The response's status, headers and text; throws when the call failed. */
export function answer(outcome: Outcome): {
  status: number
  headers: Map<string, string>
  text: string
} {
  if (!outcome.ok) throw new Error(`${outcome.code}: ${outcome.message}`)
  const { status, headers, body } = outcome.response
  return { status, headers: new Map(headers), text: new TextDecoder().decode(body) }
}

/** The code a call failed with; throws when it succeeded. */
export function failure(outcome: Outcome): string {
  if (outcome.ok) throw new Error(`Expected a failure, got ${outcome.response.status}.`)
  return outcome.code
}
