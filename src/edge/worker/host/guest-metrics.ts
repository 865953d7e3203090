/** Host function `metrics_increment`: counters of guests, which the node shows at its `/metrics` (docs/GUEST-ABI.md). */

import { join } from 'node:path'

import { LIMITS } from '../../../protocol/limits.ts'
import { GuestMetricsFile, seriesKey, seriesKeyBytesMax } from '../../guest-metrics.ts'
import type { HostFunctionBody } from './host.ts'
import type { NodeLog } from './node-log.ts'
import { RESULTS } from './result.ts'

/** Mapped files per thread, and increments remembered by how they were written; the rest is looked up again. */
const filesMax = 64
const writtenMax = 4 * LIMITS.guestSeriesMax
const labelsBytesMax =
  LIMITS.guestLabelsMax * (LIMITS.guestLabelNameBytesMax + LIMITS.guestLabelValueBytesMax + 2)
/** Sums stay whole numbers up to here, and never reach infinity. */
const incrementMax = 2 ** 53

/** One word: what Prometheus takes as a metric's name, and the dots and dashes of other systems. */
const METRIC_NAME = /^[A-Za-z_][A-Za-z0-9_.:-]*$/
const LABEL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/
/** Labels that are the node's own, or have a meaning to Prometheus. */
const RESERVED = /^(?:function_id|name|le|quantile|__.*)$/

const encoder = new TextEncoder()
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

interface FunctionCounters {
  readonly file: GuestMetricsFile
  /** Records by name and labels as the guest wrote them. */
  readonly written: Map<string, number>
}

/** The counters of functions as one executor thread adds to them. */
export class GuestMetrics {
  readonly #dir: string
  readonly #log: NodeLog
  readonly #open = new Map<string, FunctionCounters>()

  constructor(dir: string, log: NodeLog) {
    this.#dir = dir
    this.#log = log
  }

  /** Adds to a counter of a function; 0, or the result that refuses it. `amount` is finite and not negative. */
  increment(functionId: string, name: Uint8Array, labels: Uint8Array, amount: number): number {
    const counters = this.#counters(functionId)
    if (counters === null) return RESULTS.unavailable
    const written = `${Buffer.from(name).toString('latin1')}\n${Buffer.from(labels).toString('latin1')}`
    let record = counters.written.get(written)
    if (record === undefined) {
      const key = parseSeries(name, labels)
      if (typeof key === 'number') return key
      const found = counters.file.find(key)
      if (found === null) {
        counters.file.drop()
        return RESULTS.quotaFull
      }
      record = found
      if (counters.written.size >= writtenMax) counters.written.clear()
      counters.written.set(written, record)
    }
    counters.file.add(record, amount)
    return 0
  }

  #counters(functionId: string): FunctionCounters | null {
    const kept = this.#open.get(functionId)
    if (kept !== undefined) return kept
    try {
      const file = GuestMetricsFile.open(join(this.#dir, functionId))
      const [oldest] = this.#open.keys()
      if (this.#open.size >= filesMax && oldest !== undefined) this.#open.delete(oldest)
      const counters = { file, written: new Map<string, number>() }
      this.#open.set(functionId, counters)
      return counters
    } catch (thrown) {
      const fields = { function_id: functionId }
      this.#log.failure('The counters of a function cannot be kept now.', thrown, fields)
      return null
    }
  }
}

/** The key of the series that a guest names, or the result that refuses it. Labels are lines `name=value`. */
function parseSeries(nameBytes: Uint8Array, labelBytes: Uint8Array): Uint8Array | number {
  let name: string
  let text: string
  try {
    name = strictDecoder.decode(nameBytes)
    text = strictDecoder.decode(labelBytes)
  } catch {
    return RESULTS.invalid
  }
  if (!METRIC_NAME.test(name)) return RESULTS.invalid
  const labels = new Map<string, string>()
  for (const line of text === '' ? [] : text.replace(/\n$/, '').split('\n')) {
    const equals = line.indexOf('=')
    const [label, value] = [line.slice(0, equals), line.slice(equals + 1)]
    if (equals < 1 || !LABEL_NAME.test(label) || RESERVED.test(label)) return RESULTS.invalid
    if (CONTROL.test(value) || labels.has(label)) return RESULTS.invalid
    if (label.length > LIMITS.guestLabelNameBytesMax) return RESULTS.tooLarge
    if (Buffer.byteLength(value) > LIMITS.guestLabelValueBytesMax) return RESULTS.tooLarge
    labels.set(label, value)
  }
  // To Prometheus, an empty label is none, so that two such series would be one and the same.
  const given = [...labels].filter(([, value]) => value !== '')
  const key = encoder.encode(seriesKey(name, given))
  if (labels.size > LIMITS.guestLabelsMax || key.length > seriesKeyBytesMax) return RESULTS.tooLarge
  return key
}

export const metricsIncrement: HostFunctionBody = (call, context, host) => {
  const [nameLength, labelsLength, amount] = [call.u32(1), call.u32(3), call.f64(4)]
  if (!(amount >= 0 && amount <= incrementMax) || nameLength === 0) return RESULTS.invalid
  if (nameLength > LIMITS.guestMetricNameBytesMax) return RESULTS.tooLarge
  if (labelsLength > labelsBytesMax) return RESULTS.tooLarge
  const name = host.memory.readBytes(call.i32(0), nameLength)
  const labels = host.memory.readBytes(call.i32(2), labelsLength)
  return host.metrics.increment(context.fn.function_id, name, labels, amount)
}
