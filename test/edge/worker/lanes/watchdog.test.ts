/** What the watchdog does about the HTTP thread, which nobody else could do for it. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { RunningFile } from '../../../../src/edge/running.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'edgefn-watchdog-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

function start(guest: 'stops' | 'stays') {
  const fixture = join(import.meta.dir, 'watchdog-fixture.ts')
  return Bun.spawn([process.execPath, fixture, directory, guest], {
    stdout: 'pipe',
    stderr: 'inherit',
  })
}

test('a process that was frozen during a call lives on: the guest is stopped, and has time for that', async () => {
  const fixture = start('stops')
  const said = await fixture.stdout.text()
  expect([await fixture.exited, said]).toEqual([0, JSON.stringify({ inTime: false })])
})

test('a guest that nothing stops on the HTTP thread ends the process, and is alone to be blamed', async () => {
  const fixture = start('stays')
  expect([await fixture.exited, await fixture.stdout.text()]).toEqual([70, ''])
  expect(new RunningFile(join(directory, 'running'), 2).read(1)).toEqual([{ slot: 7, version: 3 }])
})
