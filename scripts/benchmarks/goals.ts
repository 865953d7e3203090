/** What the issue asks for, beside what was reached. */

export interface Goal {
  /** `hello, c=64: req/s × plain Bun.serve`. */
  readonly text: string
  readonly wanted: number
  readonly direction: 'at least' | 'at most'
  /** Null when it could not be measured; `why` then says why. */
  readonly reached: number | null
  readonly unit?: string
  readonly why?: string
}

export function isReached({ wanted, direction, reached }: Goal): boolean {
  if (reached === null || !Number.isFinite(reached)) return false
  return direction === 'at least' ? reached >= wanted : reached <= wanted
}

export const atLeast = (wanted: number, text: string, reached: number | null): Goal => ({
  text,
  wanted,
  direction: 'at least',
  reached,
})

export const atMost = (wanted: number, text: string, reached: number | null, unit = ''): Goal => ({
  text,
  wanted,
  direction: 'at most',
  reached,
  unit,
})
