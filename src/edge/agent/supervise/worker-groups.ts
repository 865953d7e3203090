/**
 * A control group for each worker, so that the kernel itself ends a worker that passes its memory limit, at the moment it
 * does. Only where the node may: in a group that is given to it, or in its own when nothing else runs there.
 */

import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { EdgefnError, errorMessage } from '../../../errors.ts'
import type { Log } from '../../../telemetry/log.ts'
import {
  groupOf,
  limitFile,
  oomKills,
  ownGroup,
  readText,
  type KernelFiles,
  type MemoryGroup,
} from '../memory/cgroup.ts'

/** Names of the groups of any agent, so that a later one can remove what an earlier one left. */
const NAME = /^edgefn-(?:agent|worker-\d+-\d+)$/

export interface WorkerGroupsOptions {
  /** `auto`: the agent's own group; or the folder of a group that is there for the workers. */
  readonly place: string
  readonly bytes_max: number
  readonly files: KernelFiles
  readonly log: Log
}

export class WorkerGroups {
  readonly #parent: MemoryGroup
  readonly #bytesMax: number
  readonly #log: Log
  /** Kernel kills seen so far, by worker. */
  readonly #kills = new Map<number, number>()

  private constructor(parent: MemoryGroup, { bytes_max, log }: WorkerGroupsOptions) {
    this.#parent = parent
    this.#bytesMax = bytes_max
    this.#log = log
  }

  /**
   * Null when `auto` finds no group that the node may divide. Throws `invalid_config` when a group was named and cannot be
   * used.
   */
  static open(options: WorkerGroupsOptions): WorkerGroups | null {
    const { place, files, log } = options
    const auto = place === 'auto'
    const parent = auto ? ownGroup(files) : groupOf(place)
    if (parent === null && !auto) {
      const message = `--worker-cgroup: ${place} is no control group that has the memory controller.`
      throw new EdgefnError('invalid_config', message)
    }
    if (parent === null || (auto && !isAlone(parent))) return null
    try {
      divide(parent, auto)
      return new WorkerGroups(parent, options)
    } catch (thrown) {
      const reason = errorMessage(thrown)
      if (auto) {
        log.debug('The control group of the node cannot be divided.', { error_message: reason })
        return null
      }
      const message = `--worker-cgroup: ${place} cannot be used: ${reason}.`
      throw new EdgefnError('invalid_config', message, { cause: thrown })
    }
  }

  get dir(): string {
    return this.#parent.dir
  }

  /** Puts a worker that has just started into a group of its own. Without one, the agent's watch is what holds it. */
  add(worker: number, pid: number): void {
    const group = this.#group(worker)
    try {
      mkdirSync(group.dir, { recursive: true })
      writeFileSync(join(group.dir, limitFile(group)), String(this.#bytesMax))
      if (group.version === 2) writeFileSync(join(group.dir, 'memory.swap.max'), '0')
      writeFileSync(join(group.dir, 'cgroup.procs'), String(pid))
      this.#kills.set(worker, oomKills(group))
    } catch (thrown) {
      this.#log.failure('A worker could not be put into its control group.', thrown, { worker })
    }
  }

  /** Whether the kernel has ended a process of the worker's group since the worker was added. */
  wasKilled(worker: number): boolean {
    return oomKills(this.#group(worker)) > (this.#kills.get(worker) ?? 0)
  }

  /** Removes what is empty. */
  close(): void {
    for (const worker of this.#kills.keys()) removeIfEmpty(this.#group(worker).dir)
  }

  /** Of this agent alone: workers of an earlier one may still run in theirs. */
  #group(worker: number): MemoryGroup {
    const { version, dir } = this.#parent
    return { version, dir: join(dir, `edgefn-worker-${process.pid}-${worker}`) }
  }
}

/** A group that others run in too is not the node's to divide. */
function isAlone({ dir }: MemoryGroup): boolean {
  return readText(join(dir, 'cgroup.procs'))?.trim() === String(process.pid)
}

/** Makes it possible to have groups below; version 2 wants no process beside them, so the agent moves into one itself. */
function divide({ version, dir }: MemoryGroup, own: boolean): void {
  for (const name of readdirSync(dir)) if (NAME.test(name)) removeIfEmpty(join(dir, name))
  if (version === 1) return
  if (own) {
    mkdirSync(join(dir, 'edgefn-agent'), { recursive: true })
    writeFileSync(join(dir, 'edgefn-agent/cgroup.procs'), String(process.pid))
  }
  writeFileSync(join(dir, 'cgroup.subtree_control'), '+memory')
}

/** The kernel refuses while a process is in it. */
function removeIfEmpty(dir: string): void {
  try {
    rmdirSync(dir)
  } catch {
    // In use, or gone.
  }
}
