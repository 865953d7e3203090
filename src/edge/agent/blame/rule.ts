/**
 * Who ended the workers that died: pure, from the deaths of the last minutes to the versions to quarantine and to keep apart.
 *
 * A worker runs several functions at once, and one of them ended it. A version that ran alone in a worker that died is
 * *proven*. A death counts against every version that ran in it, but with one proven version among them only against that one,
 * and with several against none. A version is guilty when `workerDeathsMax` deaths count against it and it is proven, or
 * when no two others ran in all of them between them: three further killers would be needed to explain them without it. While
 * two deaths are unexplained, all that ran in them are kept apart in every worker, so that the next death tells more.
 *
 * So an innocent neighbour, however busy, is never quarantined for one killer or for two: these ran in all of its deaths.
 */

import { LIMITS } from '../../../protocol/limits.ts'

/** `function_id/version`, as `artifactKey` makes it. */
export type VersionKey = string

export interface Death {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Why the process ended: a signal's name, a `KillReason`, `stuck` or `exit`. */
  readonly reason: string
  /** What ran in it, each version once. */
  readonly running: readonly VersionKey[]
}

/** The deaths that are recent enough to count. One from the future is of a clock that was set back, and counts. */
export function recent(deaths: readonly Death[], now: number): Death[] {
  return deaths.filter((death) => now - death.at < LIMITS.workerDeathsWindowMs)
}

/** The versions whose time has come, with the number of deaths that count against each. */
export function guilty(deaths: readonly Death[]): Map<VersionKey, number> {
  const proven = provenIn(deaths)
  const found = new Map<VersionKey, number>()
  for (const key of new Set(deaths.flatMap((death) => death.running))) {
    const counted = deaths.filter((death) => countsAgainst(death, key, proven))
    if (counted.length < LIMITS.workerDeathsMax) continue
    if (proven.has(key) || !twoOthersExplain(key, counted)) found.set(key, counted.length)
  }
  return found
}

/** The versions of which no two may run in one worker at once, and how long a call waits for that at most. */
export interface Separation {
  readonly apart: ReadonlySet<VersionKey>
  readonly waitMs: number
}

/** Each death that says nothing more makes suspects wait four times as long: one of them may have been running for long. */
export function separation(deaths: readonly Death[]): Separation {
  const proven = provenIn(deaths)
  const unexplained = deaths.filter(
    (death) => death.running.filter((key) => proven.has(key)).length !== 1,
  )
  if (unexplained.length < 2) return { apart: new Set(), waitMs: 0 }
  const waitMs = LIMITS.suspectWaitMsMin * 4 ** Math.min(unexplained.length - 2, 10)
  return {
    apart: new Set(unexplained.flatMap((death) => death.running)),
    waitMs: Math.min(waitMs, LIMITS.suspectWaitMsMax),
  }
}

function provenIn(deaths: readonly Death[]): Set<VersionKey> {
  return new Set(deaths.flatMap(({ running }) => (running.length === 1 ? running : [])))
}

function countsAgainst(death: Death, key: VersionKey, proven: ReadonlySet<VersionKey>): boolean {
  if (!death.running.includes(key)) return false
  return death.running.every((other) => other === key || !proven.has(other))
}

/** Whether one or two other versions ran, between them, in every one of the deaths. */
function twoOthersExplain(key: VersionKey, deaths: readonly Death[]): boolean {
  const [first, ...rest] = deaths
  for (const one of first?.running ?? []) {
    if (one === key) continue
    const [left, ...others] = rest.filter(({ running }) => !running.includes(one))
    if (left === undefined) return true
    const second = left.running.some(
      (other) => other !== key && others.every(({ running }) => running.includes(other)),
    )
    if (second) return true
  }
  return false
}
