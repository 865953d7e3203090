/** The id that ties a request to its answer, its log lines and its audit rows. */

const ACCEPTED = /^[A-Za-z0-9._-]{1,128}$/

/** The caller's `x-request-id` when it is one to be printed without thought, else a new UUIDv7. */
export function requestIdOf(incoming: string | null | undefined): string {
  return typeof incoming === 'string' && ACCEPTED.test(incoming) ? incoming : Bun.randomUUIDv7()
}
