/** The ceiling on log lines per function: so many a second, the rest is counted and reported [R13.4 P31]. */

export interface LogRateOptions {
  readonly perSecondMax: number
  /** Milliseconds of any monotonic clock. */
  readonly now: () => number
  /** Told once per second and function how many lines were dropped. */
  readonly onDropped: (functionId: string, count: number) => void
}

export interface LogRate {
  /** Whether one more line of the function may be written. */
  take(functionId: string): boolean
  /** Counts lines that were dropped before they came here. */
  drop(functionId: string, count: number): void
  /** Reports what has not been reported and stops the timers. */
  close(): void
}

interface Window {
  startedAt: number
  taken: number
  dropped: number
  report: Timer | null
}

const windowMs = 1000

/** Windows of one second per function, each starting with its first line. */
export function createLogRate(options: LogRateOptions): LogRate {
  const windows = new Map<string, Window>()

  function windowOf(functionId: string): Window {
    const window = windows.get(functionId)
    if (window !== undefined) return window
    const opened = { startedAt: options.now(), taken: 0, dropped: 0, report: null }
    windows.set(functionId, opened)
    return opened
  }

  function drop(functionId: string, count: number): void {
    if (count === 0) return
    const window = windowOf(functionId)
    window.dropped += count
    window.report ??= setTimeout(() => flush(functionId, window), windowMs).unref()
  }

  function flush(functionId: string, window: Window): void {
    if (window.report !== null) clearTimeout(window.report)
    window.report = null
    if (window.dropped === 0) return
    options.onDropped(functionId, window.dropped)
    window.dropped = 0
  }

  function take(functionId: string): boolean {
    const window = windowOf(functionId)
    const now = options.now()
    if (now - window.startedAt >= windowMs) {
      window.startedAt = now
      window.taken = 0
    }
    if (window.taken < options.perSecondMax) {
      window.taken += 1
      return true
    }
    drop(functionId, 1)
    return false
  }

  function close(): void {
    for (const [functionId, window] of windows) flush(functionId, window)
    windows.clear()
  }

  return { take, drop, close }
}
