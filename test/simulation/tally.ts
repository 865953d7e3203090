/** How often what can happen in a schedule did: a simulation in which every request is refused would pass, and has tried nothing. */

/** What the developer orders and what becomes of deployments; each must have happened in a run that is long enough. */
const EXPECTED = [
  ...['immediate', 'rolling', 'canary', 'split', 'rollback'],
  ...['pause', 'resume', 'promote', 'abort'],
  ...['route created', 'route changed', 'route removed'],
  ...['completed', 'failed', 'rolled_back', 'superseded'],
  ...['gate error_rate', 'gate max_failed', 'gate aborted'],
  ...['telemetry', 'clock set', 'cp crash', 'node crash', 'cut'],
] as const
export type Kind = (typeof EXPECTED)[number]
/** Schedules after which each has happened. */
const schedulesMin = 200

export class Tally {
  readonly #counts = new Map<string, number>()

  /** Counts what happened, also what nobody expects. */
  count(kind: string, times = 1): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + times)
  }

  /** What never happened though it should have in so many schedules. */
  missing(schedules: number): readonly Kind[] {
    return schedules < schedulesMin ? [] : EXPECTED.filter((kind) => !this.#counts.has(kind))
  }

  toString(): string {
    const kinds = new Set<string>([...EXPECTED, ...this.#counts.keys()])
    return [...kinds].map((kind) => `${kind} ${this.#counts.get(kind) ?? 0}`).join(', ')
  }
}
