/** "Did you mean": the known name nearest to a mistyped one. */

/** ` Did you mean "listen"?` with its leading space, or nothing when no name is near. */
export function suggestion(wrong: string, known: Iterable<string>): string {
  const limit = Math.max(1, Math.floor(wrong.length / 3))
  let best: string | null = null
  let bestDistance = limit + 1
  for (const name of known) {
    const distance = editDistance(wrong, name)
    if (distance < bestDistance) [best, bestDistance] = [name, distance]
  }
  return best === null ? '' : ` Did you mean ${best}?`
}

/** Levenshtein distance. */
function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const replaced = (previous[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1)
      const inserted = (current[column - 1] ?? 0) + 1
      const removed = (previous[column] ?? 0) + 1
      current.push(Math.min(replaced, inserted, removed))
    }
    previous = current
  }
  return previous[to.length] ?? 0
}
