/** What Linux tells about processes under `/proc`; null where there is no such thing (another system, a dead process). */

import { readFileSync, writeFileSync } from 'node:fs'

function read(path: string): string | null {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return null
  }
}

/** Resident bytes of a process. */
export function residentBytes(pid: number | 'self'): number | null {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '')
  return match === null ? null : Number(match[1]) * 1024
}

/** How ready the kernel is to end a process when memory runs out, above its parent; workers go before their agent. */
const oomScore = '500'

/** Marks a process as one to end first when memory runs out. */
export function preferForOom(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, oomScore)
  } catch {
    // Another system, or a process that is gone already.
  }
}

/** Start time of a process, with the boot it belongs to: together with the pid it names one process for ever. */
export function processStart(pid: number): string | null {
  const stat = read(`/proc/${pid}/stat`)
  const boot = read('/proc/sys/kernel/random/boot_id')
  // The command name, in parentheses, may hold anything; fields count from after the last one.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = fields?.[19]
  if (ticks === undefined || fields?.[0] === 'Z') return null
  return `${boot?.trim() ?? ''}:${ticks}`
}

/** A clock of the machine that nobody can set: the boot it belongs to, and milliseconds since then. */
export function machineClock(): { readonly boot: string; readonly uptime_ms: number } {
  const boot = read('/proc/sys/kernel/random/boot_id')?.trim()
  const seconds = Number(read('/proc/uptime')?.split(' ')[0])
  if (boot !== undefined && seconds > 0) return { boot, uptime_ms: seconds * 1000 }
  return { boot: `process ${process.pid}`, uptime_ms: performance.now() }
}

export interface CpuTimes {
  readonly busy: number
  readonly total: number
}

/** Processor time of the whole machine since boot, in ticks. */
export function cpuTimes(): CpuTimes | null {
  const line = /^cpu +(.+)$/m.exec(read('/proc/stat') ?? '')
  if (line === null) return null
  // user nice system idle iowait irq softirq steal; guest times are counted in user already.
  const ticks = (line[1] ?? '').split(' ').slice(0, 8).map(Number)
  const total = ticks.reduce((sum, value) => sum + value, 0)
  return { busy: total - (ticks[3] ?? 0) - (ticks[4] ?? 0), total }
}

/** Share of the processors that was busy between two readings, 0 to 100. */
export function cpuPercent(before: CpuTimes | null, after: CpuTimes | null): number {
  if (before === null || after === null || after.total <= before.total) return 0
  const percent = (100 * (after.busy - before.busy)) / (after.total - before.total)
  return Math.min(100, Math.max(0, Math.round(percent * 10) / 10))
}
