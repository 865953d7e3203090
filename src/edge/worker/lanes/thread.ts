/** How the threads of a worker begin and end. */

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

import type { ThreadData } from './messages.ts'

/** Milliseconds that a thread may take to end once it was told to. */
const endMsMax = 5_000

/** Starts a thread of this program by re-entering `entry`, the path of `main.ts` (a compiled binary's `Bun.main`). */
export function startThread(entry: string, data: ThreadData): Worker {
  return new Worker(entry, { workerData: data })
}

/**
 * Resolves when a thread that was told to end has ended. It has to do so by itself: `terminate` stops optimised JavaScript by a fault of
 * the processor's, which once compiled guests run is the engine's to handle, and the engine ends the process because no guest runs
 * there. So only a thread that does not end in time is terminated.
 */
export async function threadEnd(thread: Worker): Promise<void> {
  try {
    await once(thread, 'exit', { signal: AbortSignal.timeout(endMsMax) })
  } catch {
    await thread.terminate()
  }
}
