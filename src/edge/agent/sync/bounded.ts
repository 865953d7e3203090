/** Runs a function over items, a few at a time. */

/** Results in the order of the items. `run` must not throw; a rejection is passed on and the rest is abandoned. */
export async function mapBounded<T, R>(
  items: readonly T[],
  runningMax: number,
  run: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  let next = 0
  async function lane(): Promise<void> {
    while (next < items.length) {
      const index = next++
      results[index] = await run(items[index] as T)
    }
  }
  await Promise.all(Array.from({ length: Math.min(runningMax, items.length) }, lane))
  return results
}
