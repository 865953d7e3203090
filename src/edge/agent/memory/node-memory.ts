/** The memory of the node in one place: workers held to theirs, pressure told to them and to whoever asks. */

import type { EdgeConfig } from '../../../config/modes.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { MemoryPressure } from '../../ipc.ts'
import type { ReadyCheck } from '../ops-server.ts'
import { preferForOom } from '../supervise/proc.ts'
import { memoryCheckMs } from '../supervise/supervisor.ts'
import { WorkerGroups } from '../supervise/worker-groups.ts'
import { KERNEL_FILES } from './cgroup.ts'
import { PressureWatch } from './pressure-watch.ts'
import { readMemory, type MemoryReading } from './reading.ts'

type MemoryConfig = Pick<
  EdgeConfig,
  'worker_cgroup' | 'worker_memory_bytes_max' | 'memory_reserve_bytes'
>

export interface NodeMemoryDeps {
  readonly config: MemoryConfig
  readonly log: Log
  /** Tells the workers. */
  relieve(level: MemoryPressure): void
  /** The level is another than before. */
  onChange(level: MemoryPressure): void
  /** The memory that is left; the machine's own word by default. */
  read?(): MemoryReading | null
  /** Milliseconds, monotonic. */
  now?(): number
}

const DETAILS: readonly [string, string, string] = [
  'enough is free',
  'short: hot instances are given up',
  'very short: no new instances are started',
]

export class NodeMemory {
  readonly #deps: NodeMemoryDeps
  readonly #groups: WorkerGroups | null
  readonly #watch: PressureWatch
  #shortage = new AbortController()
  #enough = Promise.withResolvers<void>()

  /** Throws `invalid_config` when a control group was named that cannot be used. */
  constructor(deps: NodeMemoryDeps) {
    this.#deps = deps
    this.#groups = this.#openGroups()
    this.#enough.resolve()
    const { log, relieve, onChange, read = readMemory, now = () => performance.now() } = deps
    this.#watch = new PressureWatch({
      ...{ reserve_bytes: deps.config.memory_reserve_bytes, now, log },
      read: () => read(),
      tell: relieve,
      onChange: (level) => {
        this.#signal(level)
        onChange(level)
      },
    })
  }

  get pressure(): MemoryPressure {
    return this.#watch.level
  }

  /** Aborts when memory becomes short; another one is here when it no longer is. */
  get shortage(): AbortSignal {
    return this.#shortage.signal
  }

  /** Resolves when memory is not short. */
  enough(): Promise<void> {
    return this.#enough.promise
  }

  get check(): ReadyCheck {
    const level = this.pressure
    return { name: 'memory', ok: level === 0, required: false, detail: DETAILS[level] }
  }

  open(): void {
    this.#watch.open()
  }

  /** Before the workers end. */
  stop(): void {
    this.#watch.close()
  }

  /** After they have ended. */
  close(): void {
    this.#groups?.close()
  }

  workerStarted(index: number, pid: number): void {
    preferForOom(pid)
    this.#groups?.add(index, pid)
  }

  workerEnded(index: number): void {
    if (this.#groups?.wasKilled(index) !== true) return
    this.#deps.log.warn('The kernel ended a worker at its memory limit.', {
      error_type: 'worker_lost',
      context: { worker: index, bytes_max: this.#deps.config.worker_memory_bytes_max },
    })
  }

  #signal(level: MemoryPressure): void {
    const isShort = this.#shortage.signal.aborted
    if (level > 0 && !isShort) {
      this.#enough = Promise.withResolvers<void>()
      this.#shortage.abort()
    } else if (level === 0 && isShort) {
      this.#shortage = new AbortController()
      this.#enough.resolve()
    }
  }

  #openGroups(): WorkerGroups | null {
    const { config, log } = this.#deps
    const { worker_cgroup: place, worker_memory_bytes_max: bytes_max } = config
    const files = KERNEL_FILES
    const groups = place === 'off' ? null : WorkerGroups.open({ place, bytes_max, files, log })
    const by =
      groups === null
        ? { by: 'the agent, which looks at them', look_ms: memoryCheckMs }
        : { by: 'the kernel, each in a control group', cgroup: groups.dir }
    log.info('Workers are held to their memory.', { context: { ...by, bytes_max } })
    return groups
  }
}
