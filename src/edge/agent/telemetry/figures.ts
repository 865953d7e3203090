/** How the node is: processor, memory, disk, cache, pools. */

import { statfsSync } from 'node:fs'

import type { NodeFigures } from '../../../protocol/telemetry.ts'
import { Tally, type StatsFile } from '../../stats.ts'
import { sumWorkerCell } from '../statistics.ts'
import { cpuPercent, cpuTimes } from '../supervise/proc.ts'

export interface FiguresDeps {
  readonly data_dir: string
  readonly stats: readonly StatsFile[]
  readonly arms: { used(): readonly number[] }
  readonly cache: { usage(): { readonly bytes: number; readonly files: number } }
  /** Of the agent and its workers. */
  residentBytes(): number
  /** Workers that serve. */
  serving(): number
}

/** Each call says what the processors did since the one before. */
export function createNodeFigures(deps: FiguresDeps): () => NodeFigures {
  let cpu = cpuTimes()
  return function nodeFigures() {
    const before = cpu
    cpu = cpuTimes()
    const pools = new Tally()
    for (const slot of deps.arms.used()) pools.add(deps.stats, slot)
    const { bytes, files } = deps.cache.usage()
    const disk = diskOf(deps.data_dir)
    return {
      cpu_percent: cpuPercent(before, cpu),
      mem_bytes: whole(deps.residentBytes()),
      disk_free_bytes: whole(disk.free),
      disk_total_bytes: whole(disk.total),
      cache_bytes: whole(bytes),
      cache_files: whole(files),
      pool_instances: whole(pools.get('instances')),
      pool_bytes: whole(pools.get('instance_bytes')),
      queue: whole(sumWorkerCell(deps.stats, 'queue_length')),
      workers: whole(deps.serving()),
    }
  }
}

/** Zeroes where the system does not say. */
function diskOf(path: string): { readonly free: number; readonly total: number } {
  try {
    const { bsize, bavail, blocks } = statfsSync(path)
    return { free: bsize * bavail, total: bsize * blocks }
  } catch {
    return { free: 0, total: 0 }
  }
}

/** Gauges are read while they are written: never below zero, always whole. */
function whole(value: number): number {
  return Number.isFinite(value) && value > 0 ? Math.round(value) : 0
}
