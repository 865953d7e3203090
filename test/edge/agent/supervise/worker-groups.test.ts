/** Control groups of workers: against files that look like the kernel's, and against the kernel where it lets this process. */

import { expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { KERNEL_FILES, ownGroup } from '../../../../src/edge/agent/memory/cgroup.ts'
import type { KernelFiles } from '../../../../src/edge/agent/memory/cgroup.ts'
import { WorkerGroups } from '../../../../src/edge/agent/supervise/worker-groups.ts'
import { quietLog } from '../fixtures/node.ts'
import { kernelTree } from '../memory/kernel-tree.ts'

const MIB = 2 ** 20

function open(place: string, files: KernelFiles = KERNEL_FILES, bytes_max = 64 * MIB) {
  return WorkerGroups.open({ place, bytes_max, files, log: quietLog })
}

const V2 = {
  'proc/self/cgroup': '0::/edgefn.service\n',
  'cgroup/edgefn.service/cgroup.procs': `${process.pid}\n`,
  'cgroup/edgefn.service/cgroup.controllers': 'cpu memory pids\n',
}
const nameOf = (worker: number) => `edgefn-worker-${process.pid}-${worker}`

test('version 2: the agent moves aside, and each worker gets its limit before it gets in', () => {
  using tree = kernelTree(V2)
  const groups = open('auto', tree.files)
  groups?.add(3, 4711)
  const read = (name: string) => readFileSync(tree.path(`cgroup/edgefn.service/${name}`), 'utf8')
  expect(read('edgefn-agent/cgroup.procs')).toBe(String(process.pid))
  expect(read('cgroup.subtree_control')).toBe('+memory')
  expect(read(`${nameOf(3)}/memory.max`)).toBe(String(64 * MIB))
  expect(read(`${nameOf(3)}/memory.swap.max`)).toBe('0')
  expect(read(`${nameOf(3)}/cgroup.procs`)).toBe('4711')
  expect(groups?.wasKilled(3)).toBe(false)
  tree.write(`cgroup/edgefn.service/${nameOf(3)}/memory.events`, 'oom 1\noom_kill 1\n')
  expect(groups?.wasKilled(3)).toBe(true)
  groups?.add(3, 4712)
  expect(groups?.wasKilled(3)).toBe(false)
})

test('version 1 needs no moving', () => {
  using tree = kernelTree({
    'proc/self/cgroup': '4:memory:/edgefn\n0::/\n',
    'cgroup/memory/edgefn/cgroup.procs': String(process.pid),
  })
  open('auto', tree.files)?.add(0, 4711)
  const group = `cgroup/memory/edgefn/${nameOf(0)}`
  expect(readFileSync(tree.path(`${group}/memory.limit_in_bytes`), 'utf8')).toBe(String(64 * MIB))
  expect(readFileSync(tree.path(`${group}/cgroup.procs`), 'utf8')).toBe('4711')
  expect(existsSync(tree.path('cgroup/memory/edgefn/edgefn-agent'))).toBe(false)
})

test('a group in which others run too is left alone', () => {
  using tree = kernelTree({
    ...V2,
    'cgroup/edgefn.service/cgroup.procs': `1\n${process.pid}\n`,
  })
  expect(open('auto', tree.files)).toBeNull()
  expect(existsSync(tree.path('cgroup/edgefn.service/cgroup.subtree_control'))).toBe(false)
})

test('without groups there is none to divide, and a folder that is none is refused by name', () => {
  using tree = kernelTree({ 'proc/version': 'x' })
  expect(open('auto', tree.files)).toBeNull()
  expect(() => open(tree.path('proc'), tree.files)).toThrow(
    'is no control group that has the memory controller',
  )
})

/** A group below our own, if the kernel lets this process make one. */
function madeGroup(): string | null {
  const own = ownGroup(KERNEL_FILES)
  if (own?.version !== 1) return null
  try {
    const dir = join(own.dir, `edgefn-test-${process.pid}`)
    mkdirSync(dir)
    return dir
  } catch {
    return null
  }
}

test('the kernel ends a worker that passes its limit; where it cannot be asked to, the place is refused', async () => {
  const dir = madeGroup()
  if (dir === null) {
    const folder = mkdtempSync(join(tmpdir(), 'edgefn-no-group-'))
    expect(() => open(folder)).toThrow('is no control group that has the memory controller')
    return rmdirSync(folder)
  }
  try {
    const groups = open(dir, KERNEL_FILES, 200 * MIB)
    const script = `
      await new Promise((resolve) => process.stdin.once('data', resolve))
      const taken = []
      for (let i = 0; i < 400; i += 1) taken.push(new Uint8Array(2 ** 20).fill(1))
      console.log('took it all', taken.length)`
    const hog = Bun.spawn([process.execPath, '-e', script], { stdin: 'pipe', stdout: 'pipe' })
    groups?.add(0, hog.pid)
    expect(groups?.wasKilled(0)).toBe(false)
    hog.stdin.write('go')
    await hog.stdin.end()
    await hog.exited
    expect([hog.signalCode, await hog.stdout.text()]).toEqual(['SIGKILL', ''])
    expect(groups?.wasKilled(0)).toBe(true)
    groups?.close()
    expect(existsSync(join(dir, nameOf(0)))).toBe(false)
  } finally {
    rmdirSync(dir)
  }
})
