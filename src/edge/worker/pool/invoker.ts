/** Puts threads and dispatcher together: the `Invoker` that the ingress calls. */

import { openLibc } from '../../../../ffi/libc.ts'
import { TouchedPages } from '../../../../ffi/touched-pages.ts'
import type { RunningSeat } from '../../running.ts'
import type { StatsFile } from '../../stats.ts'
import type { VerdictFile } from '../../verdicts.ts'
import type { Invoker } from '../call.ts'
import type { StuckGuest } from '../lanes/executor-thread.ts'
import type { HostOptions } from '../host/host.ts'
import { ThreadSet } from '../lanes/thread-set.ts'
import { Dispatcher } from './dispatcher.ts'

export interface InvokerOptions {
  /** Path of `main.ts`, which threads re-enter; `Bun.main` in the program itself. */
  readonly entry: string
  readonly threads_max: number
  readonly stats: StatsFile
  /** Public key of what the node compiles (SPKI, DER, base64). */
  readonly compile_key: string
  /** What all hot instances may cost together, in bytes (`pool/instance.ts`). */
  readonly pool_bytes_max: number
  readonly host: HostOptions
  /** Ranges of addresses that `http_fetch` may reach besides public ones. */
  readonly fetch_allow_private: readonly string[]
  readonly running: RunningSeat
  readonly verdicts: VerdictFile
  /** Called when a thread is lost; the worker should finish what it can and exit, to be replaced. `stuck` is why, if a guest. */
  readonly onDefect: (reason: string, stuck: StuckGuest | null) => void
}

/** Opens the engine. Rejects with EdgefnError `engine_missing` when this machine has no libwasmedge that fits. */
export async function createInvoker(
  options: InvokerOptions,
): Promise<{ invoker: Invoker; engine: string }> {
  const { entry, threads_max: max, stats, host, pool_bytes_max, onDefect } = options
  const { fetch_allow_private, running, verdicts, compile_key } = options
  const libc = openLibc()
  const nowMs = libc.monotonicMs
  const touched = new TouchedPages(libc)
  const threads = new ThreadSet({
    ...{ entry, max, stats, host, nowMs, fetch_allow_private, running, compile_key, onDefect },
  })
  const engine = await threads.open()
  const dispatcher = { threads, stats, nowMs, pool_bytes_max, verdicts, touched }
  return { invoker: new Dispatcher(dispatcher), engine }
}
