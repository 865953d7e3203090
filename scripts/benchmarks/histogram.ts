/** Histograms as Prometheus shows them, and what share of what they counted lies below which value. */

export interface Bucket {
  /** Upper bound; Infinity for the last. */
  readonly upTo: number
  /** Of all values up to the bound, those of lower buckets included. */
  readonly count: number
}

/** The buckets of a metric whose labels contain `label`, in ascending order; those of several series are added. */
export function parseHistogram(text: string, metric: string, label: string): Bucket[] {
  const counts = new Map<number, number>()
  for (const line of text.split('\n')) {
    if (!line.startsWith(`${metric}_bucket{`) || !line.includes(label)) continue
    const bound = /le="([^"]+)"/.exec(line)?.[1]
    if (bound === undefined) continue
    const upTo = bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound)
    const count = Number(line.slice(line.lastIndexOf(' ') + 1))
    counts.set(upTo, (counts.get(upTo) ?? 0) + count)
  }
  return [...counts].map(([upTo, count]) => ({ upTo, count })).sort((a, b) => a.upTo - b.upTo)
}

/** What was counted between two looks. */
export function bucketsBetween(before: readonly Bucket[], after: readonly Bucket[]): Bucket[] {
  return after.map(({ upTo, count }) => {
    return { upTo, count: count - (before.find((each) => each.upTo === upTo)?.count ?? 0) }
  })
}

export function countOf(buckets: readonly Bucket[]): number {
  return buckets.at(-1)?.count ?? 0
}

/** As if values lay evenly between the bounds of a bucket; above the last bound there is, that one. NaN when nothing was counted. */
export function histogramQuantile(buckets: readonly Bucket[], share: number): number {
  const total = countOf(buckets)
  if (total === 0) return Number.NaN
  const wanted = total * share
  const place = buckets.findIndex(({ count }) => count >= wanted)
  const bucket = buckets[place]
  const below = buckets[place - 1] ?? { upTo: 0, count: 0 }
  if (bucket === undefined || bucket.upTo === Number.POSITIVE_INFINITY) return below.upTo
  const within = (wanted - below.count) / (bucket.count - below.count)
  return below.upTo + (bucket.upTo - below.upTo) * within
}
