/** `/health` and `/ready` of the control plane [C12.2]. */

import { errorMessage } from '../errors.ts'

/** Milliseconds that one check may take. */
const checkMsMax = 2_000

/** Resolves when the thing works, rejects with why it does not. */
export type Check = () => Promise<void>

export interface Readiness {
  readonly ready: boolean
  /** `ok`, or what is wrong, by the name of the check. */
  readonly checks: Readonly<Record<string, string>>
}

/** Runs all checks at once; one that takes too long has failed. Those named in `advisory` are told and decide nothing. */
export async function runChecks(
  checks: Readonly<Record<string, Check>>,
  advisory: readonly string[],
): Promise<Readiness> {
  const results = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => [name, await verdict(check)] as const),
  )
  return {
    ready: results.every(([name, result]) => result === 'ok' || advisory.includes(name)),
    checks: Object.fromEntries(results),
  }
}

async function verdict(check: Check): Promise<string> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer in ${checkMsMax} ms`)), checkMsMax)
  try {
    await Promise.race([check(), late])
    return 'ok'
  } catch (thrown) {
    return errorMessage(thrown)
  } finally {
    clearTimeout(timer)
  }
}
