/** A process that serves until it is told to stop: signals, the last words of a crash, the order of closing. */

import { EXIT, type ExitCode } from './exit.ts'
import type { Log } from '../telemetry/log.ts'

interface Closable {
  /** Resolves with why when it has come to its end by itself. */
  readonly left?: Promise<string>
  close(): Promise<void>
}

/**
 * Starts, runs until SIGTERM or SIGINT or until it has come to its end, closes. A signal during the start (a new node may wait long for its control plane)
 * ends it there: every part survives being killed. A second signal ends the process at once. What nobody caught is logged
 * and ends the process with 1: its state is unknown from there on.
 */
export async function serveUntilStopped(
  log: Log,
  start: () => Promise<Closable>,
): Promise<ExitCode> {
  process.on('uncaughtException', (error) => lastWords(log, error))
  process.on('unhandledRejection', (reason) => lastWords(log, reason))
  const stopped = stopSignal(log)
  const running = await Promise.race([start(), stopped])
  if (typeof running === 'string') {
    log.info('stopped before it was ready', { context: { signal: running } })
    return EXIT.ok
  }
  const reason = await Promise.race([
    stopped,
    ...(running.left === undefined ? [] : [running.left]),
  ])
  log.info('closing', { context: { reason } })
  await running.close()
  log.info('closed')
  return EXIT.ok
}

function lastWords(log: Log, error: unknown): void {
  log.failure('uncaught error, exiting', error)
  process.exit(EXIT.failed)
}

function stopSignal(log: Log): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  let asked = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (asked) {
        log.warn('second signal, exiting at once', { context: { signal } })
        process.exit(signal === 'SIGINT' ? 130 : 143)
      }
      asked = true
      resolve(signal)
    })
  }
  return promise
}
