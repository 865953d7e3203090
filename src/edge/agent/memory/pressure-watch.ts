/** Looks at the memory that is left and tells the workers when it is short (SPEC 4: graceful degradation) [E11 C23]. */

import type { Log } from '../../../telemetry/log.ts'
import type { MemoryPressure } from '../../ipc.ts'
import { PressureGauge } from './pressure.ts'
import type { MemoryReading } from './reading.ts'

const lookMs = 250
/** While memory is short the workers are told again, to give up what has become idle meanwhile and for workers that are new. */
const repeatMs = 2_000

export interface PressureWatchDeps {
  /** Null when the system does not say; nothing is ever short then. */
  read(): MemoryReading | null
  readonly reserve_bytes: number | null
  /** Milliseconds, monotonic. */
  now(): number
  tell(level: MemoryPressure): void
  /** The level is another than before. */
  onChange(level: MemoryPressure): void
  readonly log: Log
}

const MESSAGES: readonly [string, string, string] = [
  'There is enough memory again.',
  'Memory is short: hot instances are given up.',
  'Memory is very short: no new instances are started either.',
]

export class PressureWatch {
  readonly #deps: PressureWatchDeps
  readonly #gauge: PressureGauge
  #toldAt = 0
  #timer: ReturnType<typeof setInterval> | null = null

  constructor(deps: PressureWatchDeps) {
    this.#deps = deps
    this.#gauge = new PressureGauge(deps.reserve_bytes)
  }

  get level(): MemoryPressure {
    return this.#gauge.level
  }

  open(): void {
    this.look()
    this.#timer = setInterval(() => this.look(), lookMs)
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  /** One look. */
  look(): void {
    const { read, now, tell, onChange } = this.#deps
    const reading = read()
    if (reading === null) return
    const before = this.level
    const level = this.#gauge.update(reading, now())
    const repeats = level > 0 && now() - this.#toldAt >= repeatMs
    if (level === before && !repeats) return
    this.#toldAt = now()
    tell(level)
    if (level === before) return
    this.#say(level, reading)
    onChange(level)
  }

  #say(level: MemoryPressure, reading: MemoryReading): void {
    const { log } = this.#deps
    const fields = { context: { level, ...reading } }
    if (level === 0) log.info(MESSAGES[level], fields)
    else log.warn(MESSAGES[level], { error_type: 'memory_pressure', ...fields })
  }
}
