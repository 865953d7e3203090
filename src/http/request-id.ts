/** The id that ties a request to its answer, its log lines and its audit rows. */

const ACCEPTED = /^[A-Za-z0-9._-]{1,128}$/

/** The caller's `x-request-id` when it is one to be printed without thought, else a new UUIDv7. */
export function requestIdOf(incoming: string | null | undefined): string {
  return acceptedId(incoming) ?? Bun.randomUUIDv7()
}

function acceptedId(incoming: string | null | undefined): string | null {
  return typeof incoming === 'string' && ACCEPTED.test(incoming) ? incoming : null
}

/** Ids that may be made from one: the counter after its time has three digits. */
const idsPerSeed = 0x1000
/** Milliseconds after which the time in an id must be a new one. */
const seedMsMax = 1

/**
 * New ids for who needs many: those of one millisecond share time and random part, and count up in between (RFC 9562 section 6.2),
 * which takes a tenth of the time that making each anew does.
 */
export class RequestIds {
  #prefix = ''
  #suffix = ''
  #count = idsPerSeed
  #seedMs = 0

  /** As `requestIdOf`; `nowMs` is of a monotonic clock. */
  of(incoming: string | undefined, nowMs: number): string {
    const accepted = incoming === undefined ? null : acceptedId(incoming)
    if (accepted !== null) return accepted
    if (this.#count === idsPerSeed || nowMs - this.#seedMs >= seedMsMax) this.#seed(nowMs)
    const digits = DIGITS[this.#count] ?? ''
    this.#count += 1
    return this.#prefix + digits + this.#suffix
  }

  #seed(nowMs: number): void {
    // `tttttttt-tttt-7ccc-rrrr-rrrrrrrrrrrr`
    const id = Bun.randomUUIDv7()
    this.#prefix = id.slice(0, 15)
    this.#suffix = id.slice(18)
    this.#count = 0
    this.#seedMs = nowMs
  }
}

const DIGITS = Array.from({ length: idsPerSeed }, (_, count) => count.toString(16).padStart(3, '0'))
