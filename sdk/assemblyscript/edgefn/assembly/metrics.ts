/** Counters at the node's `/metrics`. */
import { at, encode } from './bytes'
import * as host from './host'

/**
 * Adds to a counter; `labels` are lines `name=value`. 0, or a result below zero. A function has a limited number of series,
 * that is, of names with their labels.
 */
export function increment(name: string, labels: string = '', value: f64 = 1): i32 {
  const nameBytes = encode(name)
  const labelBytes = encode(labels)
  return host.metrics_increment(
    at(nameBytes),
    nameBytes.byteLength,
    at(labelBytes),
    labelBytes.byteLength,
    value,
  )
}
