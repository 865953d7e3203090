/** How much memory is left for this node: of its control group where that has a limit, else of the machine. */

import { join } from 'node:path'

import { groupRoom, KERNEL_FILES, ownGroup, readText, type KernelFiles } from './cgroup.ts'

export interface MemoryReading {
  readonly total_bytes: number
  /** Without swapping, what caches could give back included. */
  readonly available_bytes: number
  /** Percent of the last 10 s in which every task waited for memory (PSI); null where the kernel does not say. */
  readonly stalled_percent: number | null
}

/** Null on a system that does not say. */
export function readMemory(files: KernelFiles = KERNEL_FILES): MemoryReading | null {
  const meminfo = readText(join(files.proc, 'meminfo')) ?? ''
  const total = kibibytes(meminfo, 'MemTotal')
  const available = kibibytes(meminfo, 'MemAvailable')
  const group = ownGroup(files)
  const room = group === null ? null : groupRoom(group, files)
  const stalled_percent = stalledPercent(files, group?.version === 2 ? group.dir : null)
  if (room !== null && (available === null || room.available < available)) {
    return { total_bytes: room.total, available_bytes: room.available, stalled_percent }
  }
  if (total === null || available === null) return null
  return { total_bytes: total, available_bytes: available, stalled_percent }
}

function kibibytes(meminfo: string, name: string): number | null {
  const match = new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(meminfo)
  return match === null ? null : Number(match[1]) * 1024
}

/** Of the node's own group where that is told, else of the machine. */
function stalledPercent({ proc }: KernelFiles, groupDir: string | null): number | null {
  const own = groupDir === null ? null : readText(join(groupDir, 'memory.pressure'))
  const text = own ?? readText(join(proc, 'pressure/memory'))
  const match = /^full avg10=(\d+(?:\.\d+)?)/m.exec(text ?? '')
  return match === null ? null : Number(match[1])
}
