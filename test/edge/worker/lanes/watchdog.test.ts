/** What the watchdog does about the HTTP thread, which nobody else could do for it. */

import { expect, test } from 'bun:test'
import { join } from 'node:path'

test('a process that was frozen during a call lives on: the guest is stopped, and has time for that', async () => {
  const fixture = Bun.spawn([process.execPath, join(import.meta.dir, 'watchdog-fixture.ts')], {
    stdout: 'pipe',
    stderr: 'inherit',
  })
  const said = await fixture.stdout.text()
  expect([await fixture.exited, said]).toEqual([0, JSON.stringify({ inTime: false })])
})
