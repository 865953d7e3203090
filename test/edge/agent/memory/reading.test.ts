/** What is left of the memory, by the machine's own files and by those of control groups. */

import { expect, test } from 'bun:test'

import { readMemory } from '../../../../src/edge/agent/memory/reading.ts'
import { kernelTree } from './kernel-tree.ts'

const MEMINFO = 'MemTotal:        8000 kB\nMemFree:  1 kB\nMemAvailable:    3000 kB\n'
const PRESSURE = 'some avg10=9.00 avg60=0.00\nfull avg10=2.50 avg60=0.00 avg300=0.00 total=0\n'

test('this machine tells', () => {
  const reading = readMemory()
  expect(reading?.available_bytes).toBeGreaterThan(0)
  expect(reading?.total_bytes).toBeGreaterThan(reading?.available_bytes ?? Infinity)
})

test('without groups it is the machine’s, and nothing where it does not say', () => {
  using tree = kernelTree({ 'proc/meminfo': MEMINFO })
  expect(readMemory(tree.files)).toEqual({
    total_bytes: 8000 * 1024,
    available_bytes: 3000 * 1024,
    stalled_percent: null,
  })
  tree.write('proc/pressure/memory', PRESSURE)
  expect(readMemory(tree.files)?.stalled_percent).toBe(2.5)
  using other = kernelTree({ 'proc/version': 'something else' })
  expect(readMemory(other.files)).toBeNull()
})

test('the tightest limit of a group of version 2 or one above it is what counts', () => {
  using tree = kernelTree({
    'proc/meminfo': MEMINFO,
    'proc/self/cgroup': '0::/system.slice/edgefn.service\n',
    'cgroup/cgroup.procs': '',
    'cgroup/system.slice/memory.max': 2_000_000,
    'cgroup/system.slice/memory.current': 1_500_000,
    'cgroup/system.slice/memory.stat': 'anon 5\ninactive_file 100000\n',
    'cgroup/system.slice/edgefn.service/cgroup.procs': '1',
    'cgroup/system.slice/edgefn.service/memory.max': 1_000_000,
    'cgroup/system.slice/edgefn.service/memory.current': 300_000,
    'cgroup/system.slice/edgefn.service/memory.pressure': PRESSURE,
  })
  const reading = () => readMemory(tree.files)
  expect(reading()).toEqual({
    total_bytes: 2_000_000,
    available_bytes: 600_000,
    stalled_percent: 2.5,
  })
  tree.write('cgroup/system.slice/edgefn.service/memory.current', 999_999)
  expect(reading()).toMatchObject({ total_bytes: 1_000_000, available_bytes: 1 })
  tree.write('cgroup/system.slice/edgefn.service/memory.max', 'max')
  tree.write('cgroup/system.slice/memory.max', 'max')
  expect(reading()).toMatchObject({ available_bytes: 3000 * 1024 })
})

test('version 1, also beside a version 2 without the controller, and seen from inside a container', () => {
  using tree = kernelTree({
    'proc/meminfo': MEMINFO,
    'proc/self/cgroup': '9:name=systemd:/\n4:cpuset,memory:/docker/1234\n0::/\n',
    'cgroup/memory/cgroup.procs': '1',
    'cgroup/memory/memory.limit_in_bytes': 1_000_000,
    'cgroup/memory/memory.usage_in_bytes': 900_000,
    'cgroup/memory/memory.stat': 'inactive_file 7\ntotal_inactive_file 50000\n',
  })
  expect(readMemory(tree.files)).toMatchObject({ total_bytes: 1_000_000, available_bytes: 150_000 })
  // What version 1 says when there is no limit.
  tree.write('cgroup/memory/memory.limit_in_bytes', '9223372036854771712')
  expect(readMemory(tree.files)).toMatchObject({ total_bytes: 8000 * 1024 })
})
