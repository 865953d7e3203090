/** The files that the node's processes map into memory: made by the agent, opened by each worker (DESIGN section 1). */

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
  /** Of each worker place its own. */
  readonly stats: readonly StatsFile[]
  readonly running: RunningFile
  readonly verdicts: VerdictFile
  readonly breakers: BreakerFile
  /** Where the worker of a place finds them. */
  pathsOf(place: number): Pick<WorkerOptions, SharedPath>
  /** Forgets a function's record everywhere, before it is given to another one. */
  clearSlot(slot: number): void
  /** Forgets what a worker that is gone held: its gauges and the calls that it ran. */
  clearPlace(place: number, slots: readonly number[]): void
}

type SharedPath = 'stats_path' | 'quotas_path' | 'running_path' | 'verdicts_path' | 'breakers_path'

/** Makes the files, with names that no earlier agent used: its workers may still write to theirs. */
export function openSharedFiles(dir: string, places: number): SharedFiles {
  const stamp = `${process.pid}-${Date.now().toString(36)}`
  const pathOf = (name: string, kind: 'stats' | 'shared') => join(dir, `${name}.${stamp}.${kind}`)
  const statsPaths = Array.from({ length: places }, (_, place) =>
    pathOf(`worker-${place}`, 'stats'),
  )
  const paths = {
    quotas_path: pathOf('quotas', 'shared'),
    running_path: pathOf('running', 'shared'),
    verdicts_path: pathOf('verdicts', 'shared'),
    breakers_path: pathOf('breakers', 'shared'),
  }
  const stats = statsPaths.map((path) => new StatsFile(path))
  const quotas = new QuotaFile(paths.quotas_path, places)
  const running = new RunningFile(paths.running_path, places)
  const verdicts = new VerdictFile(paths.verdicts_path)
  const breakers = new BreakerFile(paths.breakers_path)
  return {
    stamp,
    stats,
    running,
    verdicts,
    breakers,
    pathsOf: (place) => ({ stats_path: statsPaths[place] ?? '', ...paths }),
    clearSlot(slot) {
      for (const file of stats) file.clear(slot)
      quotas.clear(slot)
      verdicts.clear(slot)
      breakers.clear(slot)
    },
    clearPlace(place, slots) {
      stats[place]?.clearGauges(slots)
      quotas.clearWorker(place, slots)
    },
  }
}
