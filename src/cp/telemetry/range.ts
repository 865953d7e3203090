/** Which time an answer covers and in which steps; pure. */

import { EdgefnError } from '../../errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { MetricsQuery } from '../../protocol/telemetry.ts'
import { stepOf, type Step } from './rows.ts'

/** Seconds that an answer covers when nobody says otherwise, and about how many points it then has. */
const spanSecondsDefault = 3600
const pointsDefault = 60
/** Seconds of the finest step: how often nodes upload unless they are told otherwise. */
const rawStepSeconds = LIMITS.telemetryMsDefault / 1000

export interface Range {
  readonly from_ms: number
  /** Exclusive. */
  readonly to_ms: number
  readonly step_seconds: number
  /** Rows that are read. */
  readonly kept: Step
}

/**
 * The whole steps that touch from..to. What is no longer kept as finely as asked for is answered in the step that is kept. Throws
 * `invalid_field` when `from` is not before `to` or comes with `since`, or the steps are too many.
 */
export function rangeOf(
  { from, to, since: sinceSeconds, step }: MetricsQuery,
  nowMs: number,
): Range {
  if (from !== undefined && sinceSeconds !== undefined) {
    throw refused('since', 'since and from exclude each other.')
  }
  const until = to === undefined ? nowMs : Date.parse(to)
  const since =
    from === undefined ? until - (sinceSeconds ?? spanSecondsDefault) * 1000 : Date.parse(from)
  if (since >= until) throw refused('from', 'from must be before to.')
  const wanted = step ?? Math.ceil((until - since) / 1000 / pointsDefault)
  const kept = keptStep(since, wanted, nowMs)
  const finest = kept === 0 ? 1 : kept
  const unit = step === undefined && kept === 0 ? rawStepSeconds : finest
  const step_seconds = Math.max(1, Math.ceil(wanted / unit)) * unit
  const from_ms = floorTo(since, step_seconds)
  const to_ms = Math.ceil(until / (step_seconds * 1000)) * step_seconds * 1000
  const points = (to_ms - from_ms) / 1000 / step_seconds
  if (points > LIMITS.telemetryPointsMax) {
    const message = `step must be larger: from..to has ${points} steps of ${step_seconds} s, the limit is ${LIMITS.telemetryPointsMax}.`
    throw refused('step', message)
  }
  return { from_ms, to_ms, step_seconds, kept }
}

/**
 * SQL for the beginning of the step of an answer that a row falls into; its length in milliseconds is bound twice. The driver binds
 * every number as REAL, and a division by one would keep its fraction: each row would be a step of its own.
 */
export function stepStart(column: string): string {
  return `${column} / CAST(? AS INTEGER) * CAST(? AS INTEGER)`
}

/** The coarsest rows that give steps of `seconds`, as long as they are fine enough; coarser where the finer are gone. */
function keptStep(sinceMs: number, seconds: number, nowMs: number): Step {
  if (seconds % 3600 === 0) return 3600
  const finest = finestKept(sinceMs, nowMs)
  return seconds % 60 === 0 && finest === 0 ? 60 : finest
}

/** The finest rows that go back to a moment. */
export function finestKept(sinceMs: number, nowMs: number): Step {
  const ageSeconds = (nowMs - sinceMs) / 1000
  if (ageSeconds > LIMITS.telemetryMinuteSecondsMax) return 3600
  return ageSeconds > LIMITS.telemetryRawSecondsMax ? 60 : 0
}

function floorTo(ms: number, seconds: number): number {
  return Math.floor(ms / (seconds * 1000)) * seconds * 1000
}

function refused(field: string, message: string): EdgefnError {
  return new EdgefnError('invalid_field', message, { details: { field } })
}

/** The beginning of the oldest rows of each step that are kept. */
export function oldestKept(step: Step, nowMs: number): number {
  const seconds = {
    0: LIMITS.telemetryRawSecondsMax,
    60: LIMITS.telemetryMinuteSecondsMax,
    3600: LIMITS.telemetryHourSecondsMax,
  }[step]
  return stepOf(nowMs - seconds * 1000, step)
}
