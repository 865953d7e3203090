/** How a fetch can end, and the number by which a guest learns of it (docs/GUEST-ABI.md). */

import type { FetchOutcome } from '../../stats.ts'
import { RESULTS } from '../host/result.ts'

export type FetchFailure = Exclude<FetchOutcome, 'ok'>

/** Results below zero; those of all host functions first, where they mean the same. */
export const FETCH_CODES: Readonly<Record<FetchFailure, number>> = {
  invalid: RESULTS.invalid,
  too_large: RESULTS.tooLarge,
  unavailable: RESULTS.unavailable,
  not_allowed: -6,
  forbidden_address: -7,
  timeout: -8,
  network: -9,
  too_many_fetches: -10,
  too_many_redirects: -11,
}

/** A fetch that cannot be begun or go on. The message is for people: guests get the code alone. */
export class FetchError extends Error {
  override readonly name = 'FetchError'
  readonly failure: FetchFailure

  constructor(failure: FetchFailure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.failure = failure
  }
}

/** What is not a FetchError came from the network. */
export function failureOf(thrown: unknown): FetchFailure {
  return thrown instanceof FetchError ? thrown.failure : 'network'
}
