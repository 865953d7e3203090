/** What this run has started and not ended yet, so that it is ended when the run is interrupted too. */

interface Ending {
  stop(): Promise<void>
}

const running = new Set<Ending>()

/** Notes a process; what comes back is to be called when it has ended. */
export function noteRunning(ending: Ending): () => void {
  running.add(ending)
  return () => running.delete(ending)
}

/** Ends all, the last one first. */
export async function endRunning(): Promise<void> {
  for (const ending of [...running].toReversed()) await ending.stop().catch(() => undefined)
}
