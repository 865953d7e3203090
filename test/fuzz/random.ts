/** Random numbers from a seed, so that a failure can be had again. */

/** A generator of numbers from 0 to below 1; the same seed gives the same numbers (splitmix32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = state ^ (state >>> 16)
    mixed = Math.imul(mixed, 0x21f0aaad)
    mixed ^= mixed >>> 15
    mixed = Math.imul(mixed, 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32
  }
}

/** A whole number from 0 to below `count`. */
export function below(random: () => number, count: number): number {
  return Math.floor(random() * count)
}

export function pick<T>(random: () => number, items: readonly T[]): T {
  return items[below(random, items.length)] as T
}

export function randomBytes(random: () => number, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => below(random, 256))
}
