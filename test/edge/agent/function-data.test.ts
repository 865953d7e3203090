import { afterEach, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { FunctionData } from '../../../src/edge/agent/function-data.ts'
import { keptMsMax } from '../../../src/edge/agent/kept-stores.ts'
import { kvDamagedDir, kvStoreDir, kvStoreFile } from '../../../src/edge/kv-files.ts'
import { sqlDamagedDir, sqlDatabaseDir, sqlDatabaseFile } from '../../../src/sql/database-files.ts'
import { quietLog } from './fixtures/node.ts'

const [A, B] = [1, 2].map((n) => `01890000-0000-7000-8000-00000000000${n}`) as [string, string]

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close()
})

function open() {
  const root = mkdtempSync(join(tmpdir(), 'edgefn-data-'))
  closers.push(() => rmSync(root, { recursive: true, force: true }))
  const kv = join(root, 'kv')
  const sql = join(root, 'sql')
  const metrics = join(root, 'metrics')
  const clock = { ms: Date.now() }
  const data = new FunctionData({
    kv_dir: kv,
    sql_dir: sql,
    guest_metrics_dir: metrics,
    log: quietLog,
    now: () => clock.ms,
  })
  function store(functionId: string): string {
    const dir = kvStoreDir(kv, functionId)
    mkdirSync(dir, { recursive: true })
    for (const suffix of ['', '-wal', '-shm']) writeFileSync(`${kvStoreFile(dir)}${suffix}`, 'x')
    return dir
  }
  return { data, kv, sql, metrics, clock, store }
}

test('a deleted function takes its keys and counters along, whole, and nobody else’s', () => {
  const { data, kv, metrics, store } = open()
  const [a, b] = [store(A), store(B)]
  mkdirSync(kvDamagedDir(kv, A))
  writeFileSync(join(metrics, A), '')
  data.remove([A, '01890000-0000-7000-8000-000000000009'])
  expect([existsSync(a), existsSync(b)]).toEqual([false, true])
  expect(readdirSync(kv)).toEqual([B])
  expect(readdirSync(metrics)).toEqual([])
})

test('a deleted function takes its tables along', () => {
  const { data, sql } = open()
  for (const functionId of [A, B]) {
    mkdirSync(sqlDatabaseDir(sql, functionId))
    writeFileSync(sqlDatabaseFile(sqlDatabaseDir(sql, functionId)), 'xyz')
  }
  const gauge = data.metrics([A]).find(({ name }) => name === 'edgefn_sql_disk_bytes')
  expect(gauge?.values).toEqual([{ value: 3, labels: { function_id: A } }])
  data.remove([A])
  expect(readdirSync(sql)).toEqual([B])
})

test('the disk that keys take is shown, of functions that have some', () => {
  const { data, store } = open()
  store(A)
  const gauge = data.metrics([A, B]).find(({ name }) => name === 'edgefn_kv_disk_bytes')
  expect(gauge?.values).toEqual([{ value: 2, labels: { function_id: A } }])
})

test('the keys of a function that is only missing stay for a while', () => {
  const { data, clock, store } = open()
  const [a, b] = [store(A), store(B)]
  data.sweep(new Set([B]))
  clock.ms += keptMsMax - 60_000
  data.sweep(new Set([B]))
  expect([existsSync(a), existsSync(b)]).toEqual([true, true])
  clock.ms += 120_000
  data.sweep(new Set([B]))
  expect([existsSync(a), existsSync(b)]).toEqual([false, true])
})

test('a function that comes back has its keys, and the waiting begins anew', () => {
  const { data, kv, clock, store } = open()
  const a = store(A)
  data.sweep(new Set())
  clock.ms += keptMsMax - 60_000
  data.sweep(new Set([A]))
  expect(readdirSync(kv)).toEqual([A])
  clock.ms += keptMsMax
  data.sweep(new Set([A]))
  expect(existsSync(a)).toBe(true)
})

test('what a removal that was cut off left behind goes with the next sweep', () => {
  const { data, kv } = open()
  mkdirSync(join(kv, `${A}.removed`))
  data.sweep(new Set())
  expect(readdirSync(kv)).toEqual([])
})

test('a directory that is gone is no reason to stop', () => {
  const { data, kv } = open()
  rmSync(kv, { recursive: true })
  data.sweep(new Set())
  data.remove([A])
  expect(existsSync(kv)).toBe(false)
})

test('what was put aside as damaged goes with its function, though nothing else is left', () => {
  const { data, kv, sql, clock } = open()
  for (const functionId of [A, B]) mkdirSync(sqlDamagedDir(sql, functionId))
  mkdirSync(kvDamagedDir(kv, A))
  data.remove([A])
  expect([readdirSync(kv), readdirSync(sql)]).toEqual([[], [`${B}.damaged`]])
  data.sweep(new Set())
  clock.ms += keptMsMax + 60_000
  data.sweep(new Set())
  expect(readdirSync(sql)).toEqual([])
})
