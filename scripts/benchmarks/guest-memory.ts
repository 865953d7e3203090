/** How much of a process's memory belongs to its guests: their linear memories, told by the address space around them. */

import { readFileSync } from 'node:fs'

/** The engine reserves 4 GiB below each linear memory, which nothing may touch. */
const reservedBytesMin = 2 ** 30

export interface MemoryShares {
  /** Linear memories, and the resident bytes of them: what guests have touched. */
  readonly memories: number
  readonly touchedBytes: number
  readonly residentBytes: number
  /** Of the kernel, for the process's page tables; not among the resident bytes. */
  readonly pageTableBytes: number
}

export function memoryShares(pid: number): MemoryShares {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const bytes = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024
  const guests = parseGuestMemory(readFileSync(`/proc/${pid}/smaps`, 'utf8'))
  return { ...guests, residentBytes: bytes('VmRSS'), pageTableBytes: bytes('VmPTE') }
}

/** Of the text of `/proc/PID/smaps`: writable mappings right behind a large one that nothing may touch. */
export function parseGuestMemory(smaps: string): Pick<MemoryShares, 'memories' | 'touchedBytes'> {
  let memories = 0
  let touchedBytes = 0
  let reservedEnd = -1
  let inMemory = false
  for (const line of smaps.split('\n')) {
    const mapping = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) /.exec(line)
    if (mapping !== null) {
      const [start, end] = [mapping[1], mapping[2]].map((text) => Number.parseInt(text ?? '', 16))
      if (start === undefined || end === undefined) continue
      inMemory = mapping[3] === 'rw-p' && start === reservedEnd
      if (inMemory) memories += 1
      const reserved = mapping[3] === '---p' && end - start >= reservedBytesMin
      reservedEnd = reserved ? end : -1
    } else if (inMemory && line.startsWith('Rss:')) {
      touchedBytes += Number(/\d+/.exec(line)?.[0] ?? 0) * 1024
    }
  }
  return { memories, touchedBytes }
}
