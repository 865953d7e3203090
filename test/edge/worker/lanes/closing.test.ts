/** Threads end by themselves, also while their code is busy and the engine handles the faults of this process. */

import { expect, test } from 'bun:test'
import { join } from 'node:path'

test('a process whose threads end while compiled guests may run comes to its end', async () => {
  const fixture = Bun.spawn([process.execPath, join(import.meta.dir, 'closing-fixture.ts')], {
    stdout: 'ignore',
    stderr: 'pipe',
  })
  const errors = await fixture.stderr.text()
  expect([await fixture.exited, errors]).toEqual([0, ''])
}, 120_000)
