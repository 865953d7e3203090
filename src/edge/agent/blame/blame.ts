/** Crash blame: notes whose code ran in workers that died, and quarantines the versions that end them (RELIABILITY finding 2). */

import type { EdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { RunningFile } from '../../running.ts'
import type { VerdictFile } from '../../verdicts.ts'
import { quarantineError } from '../../verdicts.ts'
import type { BlameStore, Quarantine } from '../cache/blame-store.ts'
import { artifactKey } from '../node-state.ts'
import { mayBlame } from '../supervise/worker-process.ts'
import type { Arm, Arms } from '../supervise/arms.ts'
import type { Death, Separation, VersionKey } from './rule.ts'
import { guilty, recent, separation } from './rule.ts'

export interface BlameDeps {
  readonly running: RunningFile
  readonly verdicts: VerdictFile
  readonly arms: () => Pick<Arms, 'find' | 'armAt'>
  readonly store: BlameStore
  readonly log: Log
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** A quarantine has begun or ended. */
  readonly onChange: () => void
}

export class Blame {
  readonly #deps: BlameDeps
  #deaths: Death[]
  /** By version; those that are over too, as long as the next one would be longer for them. */
  readonly #quarantines: Map<VersionKey, Quarantine>
  readonly #counts = new Map<string, number>()
  readonly #blamed = new Map<string, number>()
  #separation: Separation
  #timer: ReturnType<typeof setTimeout> | null = null

  /** Goes on with what the store holds. */
  constructor(deps: BlameDeps) {
    this.#deps = deps
    const record = deps.store.load()
    const now = deps.now()
    this.#deaths = recent(record.deaths, now)
    this.#quarantines = new Map(record.quarantines.map((each) => [artifactKey(each), each]))
    this.#forgetOld(now)
    this.#separation = separation(this.#deaths)
    this.#schedule()
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  /** Unexpected ends of workers since the agent's start, by reason. */
  get deaths(): ReadonlyMap<string, number> {
    return this.#counts
  }

  /** Those of them in which a function ran, by function. */
  get blamed(): ReadonlyMap<string, number> {
    return this.#blamed
  }

  /** The quarantine that a version is in now. */
  quarantineOf(fn: { readonly function_id: string; readonly version: number }): Quarantine | null {
    const found = this.#quarantines.get(artifactKey(fn))
    return found !== undefined && holds(found, this.#deps.now()) ? found : null
  }

  /** The same as an error with which a call of it, or a try to load it, is refused. */
  refusal(fn: {
    readonly function_id: string
    readonly version: number
    readonly name: string
  }): EdgefnError | null {
    const found = this.quarantineOf(fn)
    return found === null ? null : quarantineError(fn, found)
  }

  /** Quarantines that hold now. */
  quarantines(): Quarantine[] {
    const now = this.#deps.now()
    return [...this.#quarantines.values()].filter((quarantine) => holds(quarantine, now))
  }

  /** The process of a seat has ended; `reason` is null when it was to end. Nothing writes the seat's cells then. */
  workerEnded(seat: number, reason: string | null): void {
    const { running, arms, now } = this.#deps
    const cells = running.read(seat)
    // It ended itself, because a guest in it could not be stopped.
    const why = running.hasLost(seat) && reason === 'exit' ? 'stuck' : reason
    running.clear(seat)
    if (why === null) return
    this.#counts.set(why, (this.#counts.get(why) ?? 0) + 1)
    if (!mayBlame(why)) return
    const keys = new Set<VersionKey>()
    for (const { slot } of cells) {
      const arm = arms().armAt(slot)
      if (arm !== null) keys.add(artifactKey(arm))
    }
    if (keys.size > 0) this.#judge(why, [...keys], now())
  }

  /** A version has a slot from now on, which must say what was decided about it before. */
  slotTaken(arm: Arm, slot: number): void {
    const { verdicts } = this.#deps
    // A version that returns has its slot as it left it, and what was decided may have ended while it was away.
    verdicts.clear(slot)
    const held = this.quarantineOf(arm)
    if (held !== null) verdicts.quarantine(slot, held)
    const { apart, waitMs } = this.#separation
    if (apart.has(artifactKey(arm))) verdicts.keepApart(slot, arm.version, waitMs)
  }

  #judge(reason: string, running: readonly VersionKey[], at: number): void {
    this.#deaths = [...recent(this.#deaths, at), { at, reason, running }]
    for (const key of running) {
      const id = functionIdOf(key)
      this.#blamed.set(id, (this.#blamed.get(id) ?? 0) + 1)
    }
    this.#deps.log.error('A worker died while functions ran in it.', {
      error_type: 'worker_lost',
      ...(running.length === 1 ? { function_id: functionIdOf(running[0] ?? '') } : {}),
      context: { reason, running },
    })
    for (const [key, deaths] of guilty(this.#deaths)) this.#quarantine(key, deaths, at)
    this.#keepApart()
    this.#save()
    this.#schedule()
  }

  #quarantine(key: VersionKey, deaths: number, now: number): void {
    const { verdicts, log } = this.#deps
    const times = (this.#quarantines.get(key)?.times ?? 0) + 1
    const until = now + quarantineMs(times)
    const function_id = functionIdOf(key)
    const version = versionOf(key)
    const quarantine = { function_id, version, since: now, until, deaths, times }
    const reasons = this.#deaths.filter(({ running }) => running.includes(key))
    this.#quarantines.set(key, quarantine)
    // Explained: they count against nobody else, and not again after this quarantine.
    this.#deaths = this.#deaths.filter(({ running }) => !running.includes(key))
    const slot = this.#slotOf(quarantine)
    if (slot !== null) verdicts.quarantine(slot, quarantine)
    this.#deps.onChange()
    log.error('A function version ends workers and is quarantined on this node.', {
      function_id,
      error_type: 'function_quarantined',
      context: {
        version,
        worker_deaths: deaths,
        reasons: reasons.map(({ reason }) => reason),
        times,
        until: new Date(until).toISOString(),
      },
    })
  }

  #keepApart(): void {
    const { verdicts } = this.#deps
    const before = this.#separation.apart
    this.#separation = separation(this.#deaths)
    const { apart, waitMs } = this.#separation
    for (const key of new Set([...before, ...apart])) {
      const version = versionOf(key)
      const slot = this.#slotOf({ function_id: functionIdOf(key), version })
      if (slot !== null) verdicts.keepApart(slot, apart.has(key) ? version : 0, waitMs)
    }
  }

  #slotOf(arm: Arm): number | null {
    return this.#deps.arms().find(arm)?.slot ?? null
  }

  /** Ends the quarantines that are over, and lets suspicions lapse. */
  #review(): void {
    const { now, verdicts, log, onChange } = this.#deps
    const at = now()
    for (const quarantine of this.#quarantines.values()) {
      const { function_id, version } = quarantine
      const slot = this.#slotOf({ function_id, version })
      if (holds(quarantine, at) || slot === null) continue
      if (verdicts.refusal({ slot, version, name: '' }) === null) continue
      verdicts.release(slot)
      onChange()
      log.info('The quarantine of a function version is over.', {
        function_id,
        context: { version },
      })
    }
    this.#forgetOld(at)
    this.#deaths = recent(this.#deaths, at)
    this.#keepApart()
    this.#save()
    this.#schedule()
  }

  /** One that has been over for as long as the longest lasts says nothing about the version any more. */
  #forgetOld(now: number): void {
    for (const [key, { until }] of this.#quarantines) {
      if (until + LIMITS.quarantineMsMax < now) this.#quarantines.delete(key)
    }
  }

  #save(): void {
    try {
      this.#deps.store.save({
        deaths: this.#deaths.map((death) => ({ ...death, running: [...death.running] })),
        quarantines: [...this.#quarantines.values()],
      })
    } catch (thrown) {
      // Disk full: it holds as long as this agent lives.
      this.#deps.log.failure('A worker death could not be written to the index.', thrown)
    }
  }

  /** Looks again when the next quarantine ends or the oldest death stops to count. */
  #schedule(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    const at = this.#deps.now()
    const ends = this.quarantines().map(({ until }) => until)
    const lapses = this.#deaths.map((death) => death.at + LIMITS.workerDeathsWindowMs)
    const next = Math.min(...ends, ...lapses)
    if (!Number.isFinite(next)) return
    // A clock set forward must not end a quarantine hours late.
    this.#timer = setTimeout(() => this.#review(), Math.min(Math.max(next - at, 0) + 1, 60_000))
    this.#timer.unref()
  }
}

/** One that would last longer than it was made for was made before the clock was set back: it is over. */
function holds({ until, times }: Pick<Quarantine, 'until' | 'times'>, now: number): boolean {
  return until > now && until - now <= quarantineMs(times)
}

/** How long the `times`-th quarantine of a version lasts. */
export function quarantineMs(times: number): number {
  return Math.min(LIMITS.quarantineMsMax, LIMITS.quarantineMsMin * 2 ** Math.min(times - 1, 20))
}

function functionIdOf(key: VersionKey): string {
  return key.slice(0, key.lastIndexOf('/'))
}

function versionOf(key: VersionKey): number {
  return Number(key.slice(key.lastIndexOf('/') + 1))
}
