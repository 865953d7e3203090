/** Processor time and memory of processes and all that descend from them, from /proc. */

import { readdirSync, readFileSync } from 'node:fs'

/** Of the kernel's interface: USER_HZ is 100 on every architecture that Bun runs on. */
const TICK_MICROS = 10_000

interface ProcessTimes {
  readonly parent: number
  /** Of its threads, ended ones too, and of children that it has waited for. */
  readonly micros: number
}

/** The fields of `/proc/PID/stat`; the name in parentheses may have spaces. */
export function parseStat(text: string): ProcessTimes {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at] ?? Number.NaN), 0)
  return { parent: Number(fields[1]), micros: ticks * TICK_MICROS }
}

/** Null for a process that is gone. */
function timesOf(pid: number): ProcessTimes | null {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return null
  }
}

/** The processes and their descendants, as far as they live. */
export function processTree(roots: readonly number[]): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    const times = /^\d+$/.test(name) ? timesOf(Number(name)) : null
    if (times !== null) parents.set(Number(name), times.parent)
  }
  const tree = new Set(roots.filter((pid) => parents.has(pid)))
  for (let before = -1; before !== tree.size;) {
    before = tree.size
    for (const [pid, parent] of parents) if (tree.has(parent)) tree.add(pid)
  }
  return [...tree]
}

/** Microseconds of processor time that the processes have used so far. A child's moves to its parent when it has ended. */
export function processorMicros(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (timesOf(pid)?.micros ?? 0), 0)
}

/** Resident bytes of the processes; pages that they share count in each. */
export function residentBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + residentBytesOf(pid), 0)
}

function residentBytesOf(pid: number): number {
  try {
    const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return Number(kibibytes ?? 0) * 1024
  } catch {
    return 0 // It ended meanwhile.
  }
}
