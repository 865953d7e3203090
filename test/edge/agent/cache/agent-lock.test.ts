/** The lock of the data directory. */

import { afterAll, afterEach, beforeEach, expect, test } from 'bun:test'
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { lockDataDir } from '../../../../src/edge/agent/cache/agent-lock.ts'
import { openCacheIndex } from '../../../../src/edge/agent/cache/cache-index.ts'
import { makeDir, quietLog, removeDir } from '../fixtures/node.ts'

let dir: string
beforeEach(() => {
  dir = makeDir()
})
afterEach(() => removeDir(dir))

test('is held by one, and free again once released', () => {
  const path = join(dir, 'agent.lock')
  const lock = lockDataDir(path)
  expect(() => lockDataDir(path)).toThrow('Another edgefn agent')
  lock.release()
  lockDataDir(path).release()
})

const full = join(tmpdir(), `edgefn-full-disk-${process.pid}`)
mkdirSync(full)
const mounted =
  Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', full]).exitCode === 0
afterAll(() => {
  if (mounted) Bun.spawnSync(['umount', full])
  removeDir(full)
})

test.skipIf(!mounted)('lock and index of a node can be opened again on a full disk', () => {
  const index = join(full, 'index.db')
  openCacheIndex(index, quietLog).close()
  const filler = openSync(join(full, 'filler'), 'a')
  expect(() => {
    for (;;) writeSync(filler, new Uint8Array(1024))
  }).toThrow('ENOSPC')
  closeSync(filler)
  const path = join(full, 'agent.lock')
  const lock = lockDataDir(path)
  expect(() => lockDataDir(path)).toThrow('Another edgefn agent')
  const database = openCacheIndex(index, quietLog)
  expect(database.query('SELECT count(*) AS rows FROM functions').get()).toEqual({ rows: 0 })
  database.close()
  lock.release()
})

test('is freed by the death of the process that holds it', async () => {
  const path = join(dir, 'agent.lock')
  const module = join(import.meta.dir, '../../../../src/edge/agent/cache/agent-lock.ts')
  const script = `const { lockDataDir } = await import(${JSON.stringify(module)})
    lockDataDir(${JSON.stringify(path)}); console.log('held'); await Bun.sleep(60_000)`
  const holder = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe' })
  for await (const _chunk of holder.stdout) break
  expect(() => lockDataDir(path)).toThrow('Another edgefn agent')
  holder.kill('SIGKILL')
  await holder.exited
  lockDataDir(path).release()
})
