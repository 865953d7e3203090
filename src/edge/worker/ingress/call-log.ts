/** Log lines of calls: what guests log, and how calls fail, in the documents' formats [R13.1 R13.4 P30 P31]. */

import { type EdgefnError, errorMessage } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { Log, LogFields } from '../../../telemetry/log.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { QuotaFile } from '../../quota.ts'
import type { StatsFile } from '../../stats.ts'
import type { CallMeasures, GuestLogMessage } from '../call.ts'
import { createLogRate } from './log-rate.ts'

export interface CallLog {
  /**
   * Lines that a call which begins now need bring back: more would be dropped here, after they have cost the thread that
   * everybody's requests go through.
   */
  linesLeft(fn: WorkerFunction): number
  /** Writes what the guest logged during a call, as far as its rate allows. */
  guest(fn: WorkerFunction, requestId: string, measures: CallMeasures): void
  /** Writes that a call failed; these lines count against the same rate. */
  failure(
    fn: WorkerFunction,
    requestId: string,
    error: EdgefnError,
    measures: CallMeasures | null,
  ): void
  close(): void
}

export interface CallLogDeps {
  readonly log: Log
  readonly stats: StatsFile
  /** Holds what each function has logged in this second, for the node as a whole. */
  readonly quotas: QuotaFile
  /** Milliseconds of a clock that all workers of the node share. */
  readonly nowMs: () => number
}

export function createCallLog({ log, stats, quotas, nowMs }: CallLogDeps): CallLog {
  const rate = createLogRate({
    take: (slot) => quotas.takeLogLine(slot, LIMITS.logMessagesPerSecondMax, nowMs()),
    onDropped: (functionId, count) =>
      log.warn('Log messages of the function were dropped', {
        function_id: functionId,
        context: { dropped: count, per_second_max: LIMITS.logMessagesPerSecondMax },
      }),
  })

  function linesLeft(fn: WorkerFunction): number {
    return quotas.logLinesLeft(fn.quota_slot, LIMITS.logMessagesPerSecondMax, nowMs())
  }

  function guest(fn: WorkerFunction, requestId: string, measures: CallMeasures): void {
    if (measures.logs.length === 0 && measures.logs_dropped === 0) return
    let dropped = measures.logs_dropped
    rate.drop(fn.function_id, dropped)
    for (const line of measures.logs) {
      if (rate.take(fn)) writeGuestLine(fn, requestId, line)
      else dropped += 1
    }
    stats.add(fn.slot, 'log_messages', measures.logs.length + measures.logs_dropped)
    if (dropped > 0) stats.add(fn.slot, 'log_messages_dropped', dropped)
  }

  function writeGuestLine(fn: WorkerFunction, requestId: string, line: GuestLogMessage): void {
    log[line.level](line.message, {
      function_id: fn.function_id,
      request_id: requestId,
      source: 'function',
      timestamp: new Date(line.at).toISOString(),
    })
  }

  function failure(
    fn: WorkerFunction,
    requestId: string,
    error: EdgefnError,
    measures: CallMeasures | null,
  ): void {
    if (!rate.take(fn)) return
    log.error('The function call failed', {
      function_id: fn.function_id,
      request_id: requestId,
      error_type: error.code,
      error_message: error.message,
      context: {
        version: fn.version,
        max_execution_ms: fn.max_execution_ms,
        ...(measures === null ? {} : { actual_execution_ms: Math.round(measures.execution_ms) }),
        ...error.details,
      },
      ...causeFields(error.cause),
    })
  }

  return { linesLeft, guest, failure, close: rate.close }
}

function causeFields(cause: unknown): LogFields {
  if (cause === undefined) return {}
  const stack = cause instanceof Error ? cause.stack : undefined
  return {
    error_cause: errorMessage(cause),
    ...(stack === undefined ? {} : { stack_trace: stack }),
  }
}
