/** Medians, spreads and means of what was measured. */

/** The middle value, of an even number the mean of the middle two; NaN of none. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** The value below which a share of the values lies, between two of them by their distances; NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const place = (sorted.length - 1) * share
  const below = sorted[Math.floor(place)] ?? Number.NaN
  const above = sorted[Math.ceil(place)] ?? Number.NaN
  return below + (above - below) * (place - Math.floor(place))
}

/** The number that, multiplied with itself as often as there are values, is their product; NaN of none. */
export function geometricMean(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length)
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: quantile(values, 0), max: quantile(values, 1) }
}

/**
 * The median of the ratios round by round: a machine's speed drifts, and only what was measured side by side compares.
 * Rounds that one of the two lacks do not count.
 */
export function pairedRatio(values: readonly number[], references: readonly number[]): number {
  const rounds = Math.min(values.length, references.length)
  return median(
    Array.from({ length: rounds }, (_, round) => ratioOf(values[round], references[round])),
  )
}

function ratioOf(value = Number.NaN, reference = Number.NaN): number {
  return value / reference
}
