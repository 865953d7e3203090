/** Control groups as files: which one limits this node's memory, and what it says. Versions 1 and 2, and the two mixed. */

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Where the kernel shows itself; another folder in tests. */
export interface KernelFiles {
  readonly proc: string
  readonly cgroup: string
}

export const KERNEL_FILES: KernelFiles = { proc: '/proc', cgroup: '/sys/fs/cgroup' }

/** A group of the memory controller. */
export interface MemoryGroup {
  readonly version: 1 | 2
  readonly dir: string
}

/** What the files of the two versions are called. */
const NAMES = {
  1: {
    limit: 'memory.limit_in_bytes',
    usage: 'memory.usage_in_bytes',
    reclaimable: 'total_inactive_file',
    events: 'memory.oom_control',
  },
  2: {
    limit: 'memory.max',
    usage: 'memory.current',
    reclaimable: 'inactive_file',
    events: 'memory.events',
  },
} as const

/** Null when the file cannot be read. */
export function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

/** A field of a file of lines `name value`. */
export function readField(path: string, name: string): number | null {
  const match = new RegExp(`^${name} (\\d+)$`, 'm').exec(readText(path) ?? '')
  return match === null ? null : Number(match[1])
}

/** The group that this process is in; null where the kernel shows none. */
export function ownGroup({ proc, cgroup }: KernelFiles): MemoryGroup | null {
  const lines = (readText(join(proc, 'self/cgroup')) ?? '').split('\n')
  for (const line of lines) {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers.split(',').includes('memory')) return groupAt(1, join(cgroup, 'memory'), path)
  }
  const unified = lines.find((line) => line.startsWith('0::'))
  return unified === undefined ? null : groupAt(2, cgroup, unified.slice('0::'.length))
}

/** In a container the path may be that of the host, and what is mounted is the container's own group. */
function groupAt(version: 1 | 2, root: string, path: string): MemoryGroup | null {
  const dirs = [join(root, path), root]
  const dir = dirs.find((each) => existsSync(join(each, 'cgroup.procs')))
  return dir === undefined ? null : { version, dir }
}

/** The group a folder is; null when it is none of the memory controller. */
export function groupOf(dir: string): MemoryGroup | null {
  if (existsSync(join(dir, NAMES[1].limit))) return { version: 1, dir }
  const controllers = readText(join(dir, 'cgroup.controllers'))
  return controllers?.split(/\s+/).includes('memory') === true ? { version: 2, dir } : null
}

/** The name of the file with a group's limit. */
export function limitFile({ version }: MemoryGroup): string {
  return NAMES[version].limit
}

/** Processes that the kernel has ended because the group was at its limit. */
export function oomKills({ version, dir }: MemoryGroup): number {
  return readField(join(dir, NAMES[version].events), 'oom_kill') ?? 0
}

/** What is left of the limits of a group and of those above it: the tightest. Null where none is set. */
export function groupRoom(
  group: MemoryGroup,
  { cgroup }: KernelFiles,
): { readonly total: number; readonly available: number } | null {
  const names = NAMES[group.version]
  let tightest: { total: number; available: number } | null = null
  for (let dir = group.dir; dir.startsWith(cgroup) && dir !== dirname(cgroup); dir = dirname(dir)) {
    const total = Number(readText(join(dir, names.limit)) ?? Number.NaN)
    const usage = Number(readText(join(dir, names.usage)) ?? Number.NaN)
    // `max`, no such file, or version 1's figure for none, which is near 2^63.
    if (!Number.isFinite(total) || !Number.isFinite(usage) || total > 2 ** 60) continue
    const reclaimable = readField(join(dir, 'memory.stat'), names.reclaimable) ?? 0
    const available = Math.max(total - usage + reclaimable, 0)
    if (tightest === null || available < tightest.available) tightest = { total, available }
  }
  return tightest
}
