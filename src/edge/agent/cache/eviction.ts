/** Which cached files go when room is needed: least recently used first, never one that is in service [R15.1 R15.2 P34]. */

export interface EvictionCandidate {
  readonly key: string
  readonly size_bytes: number
  readonly last_used: number
}

export interface CacheLimits {
  readonly bytes_max: number
  readonly files_max: number
}

/** What must fit besides the files that are there. */
export interface Room {
  readonly bytes: number
  readonly files: number
}

export interface Eviction {
  readonly keys: readonly string[]
  /** False when the limits are broken even after all these are gone: the rest is in service. */
  readonly fits: boolean
}

/** Decides; changes nothing. Among equally old files the smaller key goes first, so the result is determined. */
export function chooseEvictions(
  files: Iterable<EvictionCandidate>,
  inService: ReadonlySet<string>,
  limits: CacheLimits,
  room: Room,
): Eviction {
  const all = [...files]
  let bytes = all.reduce((sum, file) => sum + file.size_bytes, room.bytes)
  let count = all.length + room.files
  const keys: string[] = []
  const fits = () => bytes <= limits.bytes_max && count <= limits.files_max
  if (fits()) return { keys, fits: true }
  for (const file of leastRecentlyUsed(all, inService)) {
    keys.push(file.key)
    bytes -= file.size_bytes
    count -= 1
    if (fits()) return { keys, fits: true }
  }
  return { keys, fits: false }
}

/** Candidates in the order they would go. */
export function leastRecentlyUsed(
  files: Iterable<EvictionCandidate>,
  inService: ReadonlySet<string>,
): EvictionCandidate[] {
  return [...files]
    .filter((file) => !inService.has(file.key))
    .sort((a, b) => a.last_used - b.last_used || (a.key < b.key ? -1 : 1))
}
