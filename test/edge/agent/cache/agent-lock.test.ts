/** The lock of the data directory. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'

import { lockDataDir } from '../../../../src/edge/agent/cache/agent-lock.ts'
import { makeDir, removeDir } from '../fixtures/node.ts'

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
