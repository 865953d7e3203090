import { expect, test } from 'bun:test'

import { memoryShares, parseGuestMemory } from '../../scripts/benchmarks/guest-memory.ts'

const SMAPS = `555500000000-555500010000 rw-p 00000000 00:00 0                          [heap]
Size:                 64 kB
Rss:                  60 kB
7f0000000000-7f0100000000 ---p 00000000 00:00 0
Size:            4194304 kB
Rss:                   0 kB
7f0100000000-7f0100020000 rw-p 00000000 00:00 0
Size:                128 kB
Rss:                  12 kB
7f0100020000-7f0300000000 ---p 00000000 00:00 0
Size:            8388480 kB
Rss:                   0 kB
7f0300000000-7f0300001000 r--p 00000000 00:00 0
Rss:                   4 kB
7f0400000000-7f0500000000 ---p 00000000 00:00 0
7f0500000000-7f0500010000 rw-p 00000000 00:00 0
Rss:                   8 kB
7f0600000000-7f0600001000 ---p 00000000 00:00 0
7f0600001000-7f0600801000 rw-p 00000000 00:00 0
Rss:                 100 kB
`

test('guests have what lies right behind a large reservation, and nothing else', () => {
  expect(parseGuestMemory(SMAPS)).toEqual({ memories: 2, touchedBytes: 20 * 1024 })
})

test('a process without guests has none', () => {
  const shares = memoryShares(process.pid)
  expect(shares.memories).toBe(0)
  expect(shares.residentBytes).toBeGreaterThan(0)
  expect(shares.pageTableBytes).toBeGreaterThan(0)
})
