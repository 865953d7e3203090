/** The files that the node's processes map into memory: made by the agent, opened by each worker (DESIGN section 1). */

import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import { BreakerFile } from '../breaker-file.ts'
import type { WorkerOptions } from '../ipc.ts'
import { QuotaFile } from '../quota.ts'
import { RunningFile } from '../running.ts'
import { StatsFile } from '../stats.ts'
import { VerdictFile } from '../verdicts.ts'

export interface SharedFiles {
  /** What tells this agent's files from those of earlier ones. */
  readonly stamp: string
  /** Of each worker's seat its own. */
  readonly stats: readonly StatsFile[]
  readonly running: RunningFile
  readonly verdicts: VerdictFile
  readonly breakers: BreakerFile
  /** Where the worker in a seat finds them, and how many seats they are made for. */
  pathsOf(seat: number): Pick<WorkerOptions, SharedPath | 'workers'>
  /** Forgets a version's record everywhere, before it is given to another one. */
  clearSlot(slot: number): void
  /** Forgets the quotas of a function, before their record is given to another one. */
  clearQuotaSlot(slot: number): void
  /** Forgets what a worker that is gone held: its gauges and the calls that it ran, which count as lost. */
  clearSeat(seat: number, slots: UsedSlots): void
}

/** All records that were ever given. */
export interface UsedSlots {
  used(): readonly number[]
  usedQuotaSlots(): readonly number[]
}

type SharedPath = 'stats_path' | 'quotas_path' | 'running_path' | 'verdicts_path' | 'breakers_path'

/** The files of statistics that an agent with this stamp made. */
export function statisticsFiles(dir: string, stamp: string): string[] {
  return readdirSync(dir)
    .filter((name) => name.startsWith('worker-') && name.endsWith(`.${stamp}.stats`))
    .map((name) => join(dir, name))
}

/**
 * Deletes the files of earlier agents: their orphans keep theirs mapped, nobody reads them any more. Statistics with one of the stamps in
 * `kept` stay.
 */
export function sweepSharedFiles(dir: string, kept: ReadonlySet<string>): void {
  for (const name of readdirSync(dir)) {
    const match = /\.([^.]+)\.(stats|shared)$/.exec(name)
    if (match === null || (match[2] === 'stats' && kept.has(match[1] ?? ''))) continue
    rmSync(join(dir, name), { recursive: true, force: true })
  }
}

/** Makes the files for `seats` workers, a spare included, with names that no earlier agent used: its workers may still write to theirs. */
export function openSharedFiles(dir: string, seats: number): SharedFiles {
  const stamp = `${process.pid}-${Date.now().toString(36)}`
  const pathOf = (name: string, kind: 'stats' | 'shared') => join(dir, `${name}.${stamp}.${kind}`)
  const statsPaths = Array.from({ length: seats }, (_, seat) => pathOf(`worker-${seat}`, 'stats'))
  const paths = {
    quotas_path: pathOf('quotas', 'shared'),
    running_path: pathOf('running', 'shared'),
    verdicts_path: pathOf('verdicts', 'shared'),
    breakers_path: pathOf('breakers', 'shared'),
  }
  const stats = statsPaths.map((path) => new StatsFile(path))
  const quotas = new QuotaFile(paths.quotas_path, seats)
  const running = new RunningFile(paths.running_path, seats)
  const verdicts = new VerdictFile(paths.verdicts_path)
  const breakers = new BreakerFile(paths.breakers_path)
  return {
    stamp,
    stats,
    running,
    verdicts,
    breakers,
    pathsOf: (seat) => ({ stats_path: statsPaths[seat] ?? '', ...paths, workers: seats }),
    clearSlot(slot) {
      for (const file of stats) file.clear(slot)
      verdicts.clear(slot)
      breakers.clear(slot)
    },
    clearQuotaSlot: (slot) => quotas.clear(slot),
    clearSeat(seat, slots) {
      stats[seat]?.loseCalls(slots.used())
      stats[seat]?.clearGauges(slots.used())
      quotas.clearWorker(seat, slots.usedQuotaSlots())
    },
  }
}
