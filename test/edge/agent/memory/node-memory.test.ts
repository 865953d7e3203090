/** What gives way when memory is short: compilations, and they begin again when it is not. */

import { expect, test } from 'bun:test'

import { runCompileProcess } from '../../../../src/edge/agent/compile/compile-process.ts'
import { NodeMemory } from '../../../../src/edge/agent/memory/node-memory.ts'
import { EdgefnError } from '../../../../src/errors.ts'
import { quietLog, until } from '../fixtures/node.ts'

const GIB = 2 ** 30

function memoryOf(available: () => number, now = () => performance.now()) {
  const changes: number[] = []
  const memory = new NodeMemory({
    config: {
      worker_cgroup: 'off',
      worker_memory_bytes_max: GIB,
      memory_reserve_bytes: GIB,
    },
    log: quietLog,
    relieve: () => {},
    now,
    onChange: (level) => changes.push(level),
    read: () => ({ total_bytes: 8 * GIB, available_bytes: available(), stalled_percent: null }),
  })
  return { memory, changes }
}

const job = {
  kind: 'self_test',
  stop_mode: 'polls',
  output: '/nowhere',
  cpu_seconds_max: 60,
} as const

test('a compilation gives way as soon as memory is short, which is not the module’s fault', async () => {
  let available = 4 * GIB
  const { memory, changes } = memoryOf(() => available)
  memory.open()
  const { shortage } = memory
  const command = () => {
    available = 0.9 * GIB
    return [process.execPath, '-e', 'setInterval(() => {}, 1000)']
  }
  const signals = { closing: new AbortController().signal, shortage }
  const outcome = await runCompileProcess(command, job, signals).catch((thrown: unknown) => thrown)
  expect(outcome).toBeInstanceOf(Error)
  expect(outcome).not.toBeInstanceOf(EdgefnError)
  expect(String(outcome)).toContain('short of memory')
  expect([memory.pressure, changes]).toEqual([1, [1]])
  memory.stop()
})

test('who waits for enough memory is told when there is; who waits at other times does not wait', async () => {
  let available = 4 * GIB
  let now = 0
  const { memory, changes } = memoryOf(
    () => available,
    () => (now += 5_000),
  )
  await memory.enough()
  available = 0
  memory.open()
  expect([memory.pressure, memory.shortage.aborted, memory.check.ok]).toEqual([2, true, false])
  let told = false
  void memory.enough().then(() => (told = true))
  available = 4 * GIB
  await until('there is enough', () => told)
  expect([memory.shortage.aborted, changes.at(-1), memory.check.ok]).toEqual([false, 0, true])
  memory.stop()
})
