/** What the command lines of the benchmarks have in common. */

/** The scenarios that `--only` names; null for all. Throws an Error for one that is not known. */
export function knownNames(only: string | undefined, known: readonly string[]): string[] | null {
  const names = only?.split(',').map((name) => name.trim()) ?? null
  const unknown = names?.find((name) => !known.includes(name))
  if (unknown === undefined) return names
  throw new Error(`--only: there is no scenario ${unknown}, but ${known.join(', ')}`)
}

/** The value of a flag that is a number. Throws an Error that names the flag. */
export function positive(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new Error(`--${name}: must be a whole number from 1 on, got ${text}`)
  }
  return value
}
