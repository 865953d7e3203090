/** How long the replacement of a worker that keeps dying waits: not at all at first, then 50 ms doubling to 5 s. */

const restartMsMin = 50
const restartMsMax = 5_000

/** Wait before the replacement of the `youngDeaths`-th worker in a row that died young. */
export function restartDelayMs(youngDeaths: number): number {
  if (youngDeaths <= 1) return 0
  return Math.min(restartMsMax, restartMsMin * 2 ** Math.min(youngDeaths - 2, 20))
}
