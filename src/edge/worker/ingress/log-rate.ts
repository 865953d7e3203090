/** The ceiling on log lines per function: so many a second on the node, the rest is counted and reported [R13.4 P31]. */

import type { WorkerFunction } from '../../ipc.ts'

export interface LogRateOptions {
  /** Whether the node has room for one more line of the function with these quotas in this second. */
  readonly take: (slot: number) => boolean
  /** Told once per second and function how many lines this worker has dropped. */
  readonly onDropped: (functionId: string, count: number) => void
}

type Logger = Pick<WorkerFunction, 'function_id' | 'quota_slot'>

export interface LogRate {
  /** Whether one more line of the function may be written. */
  take(fn: Logger): boolean
  /** Counts lines that were dropped before they came here. */
  drop(functionId: string, count: number): void
  /** Reports what has not been reported and stops the timers. */
  close(): void
}

interface Dropped {
  count: number
  readonly report: Timer
}

const reportMs = 1000

export function createLogRate(options: LogRateOptions): LogRate {
  /** Functions whose lines were dropped and not reported yet. */
  const dropped = new Map<string, Dropped>()

  function drop(functionId: string, count: number): void {
    if (count === 0) return
    const known = dropped.get(functionId)
    if (known !== undefined) known.count += count
    else {
      const report = setTimeout(() => flush(functionId), reportMs).unref()
      dropped.set(functionId, { count, report })
    }
  }

  function flush(functionId: string): void {
    const known = dropped.get(functionId)
    if (known === undefined) return
    clearTimeout(known.report)
    dropped.delete(functionId)
    options.onDropped(functionId, known.count)
  }

  function take(fn: Logger): boolean {
    if (options.take(fn.quota_slot)) return true
    drop(fn.function_id, 1)
    return false
  }

  function close(): void {
    for (const functionId of dropped.keys()) flush(functionId)
  }

  return { take, drop, close }
}
