/**
 * The record of this node's worker processes, `run/workers.json`. Workers outlive an agent that was killed and go on
 * serving; the next agent finds them here and ends them once its own workers serve, so a restart has no gap.
 */

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'

import { z } from 'zod'

import type { Log } from '../../../telemetry/log.ts'
import { processStart } from './proc.ts'

const recordSchema = z.array(z.strictObject({ pid: z.int().min(2), start: z.string() }))
type WorkerRecord = z.infer<typeof recordSchema>[number]

/** How long an orphan may finish its calls after SIGTERM. */
const orphanMsMax = 10_000
const orphanPollMs = 100

export class WorkerRegister {
  readonly #path: string
  readonly #log: Log
  #orphans: WorkerRecord[]
  readonly #own = new Map<number, WorkerRecord>()

  /** Reads what an earlier agent left. */
  constructor(path: string, log: Log) {
    this.#path = path
    this.#log = log
    this.#orphans = readRecords(path).filter(isAlive)
  }

  /** Whether workers of an earlier agent live, which may hold the port that this agent's will share. */
  get hasOrphans(): boolean {
    return this.#orphans.length > 0
  }

  /** Notes a worker of this agent. */
  add(pid: number): void {
    const start = processStart(pid)
    if (start === null) return
    for (const worker of this.#own.values()) if (!isAlive(worker)) this.#own.delete(worker.pid)
    this.#own.set(pid, { pid, start })
    this.#write()
  }

  /** Ends the earlier agent's workers: SIGTERM, and SIGKILL for those that stay. Resolves when they are gone. */
  async endOrphans(): Promise<void> {
    if (this.#orphans.length === 0) return
    this.#log.info('Workers of an earlier agent are still serving and are ended now.', {
      context: { pids: this.#orphans.map((orphan) => orphan.pid) },
    })
    for (const orphan of this.#orphans) signal(orphan, 'SIGTERM')
    const deadline = performance.now() + orphanMsMax
    while (this.#orphans.some(isAlive) && performance.now() < deadline) {
      await Bun.sleep(orphanPollMs)
    }
    for (const orphan of this.#orphans) signal(orphan, 'SIGKILL')
    this.#orphans = []
    this.#write()
  }

  /** After an orderly end there is nothing to find. */
  clear(): void {
    this.#own.clear()
    if (this.#orphans.length === 0) rmSync(this.#path, { force: true })
    else this.#write()
  }

  /** A full disk must not keep workers from running: those it cannot note end by themselves when they are orphaned. */
  #write(): void {
    const temporary = `${this.#path}.tmp`
    try {
      writeFileSync(temporary, JSON.stringify([...this.#orphans, ...this.#own.values()]))
      renameSync(temporary, this.#path)
    } catch (thrown) {
      this.#log.failure('The list of workers could not be written.', thrown)
    }
  }
}

function readRecords(path: string): WorkerRecord[] {
  try {
    return recordSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    // Missing, or half written in a power loss, after which no worker is left either.
    return []
  }
}

/** The start time tells a worker from a process that got its number later. */
function isAlive(record: WorkerRecord): boolean {
  return processStart(record.pid) === record.start
}

function signal(record: WorkerRecord, name: 'SIGTERM' | 'SIGKILL'): void {
  if (!isAlive(record)) return
  try {
    process.kill(record.pid, name)
  } catch {
    // Gone in between.
  }
}
