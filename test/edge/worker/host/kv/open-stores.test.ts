import { afterEach, expect, test } from 'bun:test'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Database } from 'bun:sqlite'

import { kvDamagedDir, kvStoreDir, kvStoreFile } from '../../../../../src/edge/kv-files.ts'
import { KvKeeper } from '../../../../../src/edge/worker/host/kv/keeper.ts'
import {
  KvLate,
  KvStores,
  KvUnavailable,
} from '../../../../../src/edge/worker/host/kv/open-stores.ts'
import { KvStore } from '../../../../../src/edge/worker/host/kv/store.ts'
import { NodeLog } from '../../../../../src/edge/worker/host/node-log.ts'
import { createLog } from '../../../../../src/telemetry/log.ts'

const FN = '01890000-0000-7000-8000-000000000001'
const nowMs = performance.now.bind(performance)
const bytes = (text: string) => new TextEncoder().encode(text)
const never = () => false

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close()
})

const sleeping = <T>(_leftMs: () => number, wait: () => T): T => wait()

function openStores() {
  const root = mkdtempSync(join(tmpdir(), 'edgefn-kv-'))
  const dir = join(root, 'kv')
  const lines: Record<string, unknown>[] = []
  const write = (line: string) => void lines.push(JSON.parse(line))
  const nodeLog = createLog({ component: 'test', level: 'debug', pretty: false, write })
  const stores = new KvStores({ dir, log: new NodeLog(nodeLog, nowMs), nowMs, sleeping })
  closers.push(() => rmSync(root, { recursive: true, force: true }))
  closers.push(() => stores.close())
  /** One operation as a call of its own, with so many milliseconds. */
  function use<T>(work: (store: KvStore) => T, ms = 5_000, functionId = FN): T {
    const until = nowMs() + ms
    return stores.use(functionId, {}, { leftMs: () => until - nowMs() }, work)
  }
  const put = (key: string, value = 'v') =>
    use((store) => store.put(bytes(key), bytes(value), null, 0, never))
  const get = (key: string) => {
    const value = use((store) => store.get(bytes(key), 0))
    return value === null ? null : new TextDecoder().decode(value)
  }
  return { dir, stores, lines, nodeLog, use, put, get }
}

test('a function that is forgotten leaves no file open, and has its keys when it is run again', () => {
  const { dir, stores, put, get } = openStores()
  put('k')
  stores.forget('another')
  expect(stores.size).toBe(1)
  stores.forget(FN)
  expect(stores.size).toBe(0)
  const open = readdirSync('/proc/self/fd').map((fd) => linkOf(`/proc/self/fd/${fd}`))
  expect(open.filter((path) => path.startsWith(dir))).toEqual([])
  expect(get('k')).toBe('v')
})

/** Where a descriptor leads; nowhere when it was closed meanwhile. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

test('who waits for a store that is locked waits until the deadline and no longer', () => {
  const { dir, use, put, get } = openStores()
  put('k')
  const other = new Database(kvStoreFile(kvStoreDir(dir, FN)))
  closers.push(() => other.close())
  other.run('BEGIN IMMEDIATE')
  const from = nowMs()
  const late = () => use((store) => store.put(bytes('k'), bytes('2'), null, 0, never), 150)
  expect(late).toThrow(KvLate)
  expect(nowMs() - from).toBeWithin(145, 3000)
  // Readers do not wait for writers.
  expect(get('k')).toBe('v')
  other.run('ROLLBACK')
  put('k', '2')
  expect(get('k')).toBe('2')
})

test('the stores of functions are apart', () => {
  const { use, put } = openStores()
  put('k')
  const otherId = FN.replace(/1$/, '2')
  expect(use((store) => store.get(bytes('k'), 0), 5_000, otherId)).toBeNull()
  expect(use((store) => store.usage().keys, 5_000, otherId)).toBe(0)
})

test('a damaged store is put aside with an error in the log, and the next use begins a new one', () => {
  const { dir, lines, put, get } = openStores()
  const store = kvStoreDir(dir, FN)
  mkdirSync(store, { recursive: true })
  writeFileSync(kvStoreFile(store), 'this was a database, once '.repeat(1000))
  expect(() => get('k')).toThrow(KvUnavailable)
  expect(lines).toMatchObject([{ level: 'error', function_id: FN }])
  expect(statSync(kvStoreFile(kvDamagedDir(dir, FN))).size).toBe(26_000)
  put('k', 'new')
  expect(get('k')).toBe('new')
  expect(lines.length).toBe(1)
})

test('a store that is damaged while it is open is put aside too, once for all who have it open', () => {
  const { dir, put, get, stores } = openStores()
  const other = new KvStores({
    dir,
    log: new NodeLog(createLog({ component: 'test', level: 'error', write: never }), nowMs),
    nowMs,
    sleeping,
  })
  closers.push(() => other.close())
  const otherGet = () =>
    other.use(FN, {}, { leftMs: () => 1000 }, (store) => store.get(bytes('k1'), 0))
  for (let n = 0; n < 2000; n += 1) put(`k${n}`, 'v'.repeat(100))
  expect(otherGet()).not.toBeNull()
  writeBack(dir)
  const size = statSync(kvStoreFile(kvStoreDir(dir, FN))).size
  writeFileSync(kvStoreFile(kvStoreDir(dir, FN)), new Uint8Array(size).fill(0xff))
  stores.close()
  expect(() => get('k1999')).toThrow(KvUnavailable)
  put('k1', 'new')
  // The other one looks whether its file is still the one of this name, and finds the new one.
  expect(new TextDecoder().decode(otherGet() ?? undefined)).toBe('new')
  expect(get('k1')).toBe('new')
})

/** Writes the logs of all stores back into their files. */
function writeBack(dir: string): void {
  let now = Date.now()
  const log = createLog({ component: 'test', level: 'error' })
  const keeper = new KvKeeper({ dir, log, now: () => now })
  keeper.look()
  now += 3_600_000
  keeper.look()
}

test('who writes faster than logs are written back waits for it, and goes on after it', () => {
  const { dir, use } = openStores()
  let filled = 0
  // What is the same as before is not written.
  const put = (ms: number) => {
    const value = new Uint8Array(1_000_000).fill((filled += 1))
    return use((store) => store.put(bytes('k'), value, null, 0, never), ms)
  }
  for (let n = 0; n < 64; n += 1) put(5_000)
  expect(() => {
    for (let n = 0; n < 10; n += 1) put(100)
  }).toThrow(KvLate)
  writeBack(dir)
  expect(put(100)).toBe(true)
})

test('a store that was removed is begun anew, and what was removed stays so', () => {
  const { dir, put, get } = openStores()
  put('k')
  rmSync(kvStoreDir(dir, FN), { recursive: true })
  expect(get('k')).toBeNull()
  put('k2')
  expect([get('k'), get('k2')]).toEqual([null, 'v'])
})

test('a directory that cannot be made is an error of the node, told once a second', () => {
  const { dir, lines, get } = openStores()
  writeFileSync(dir, 'in the way')
  for (let n = 0; n < 50; n += 1) expect(() => get('k')).toThrow(KvUnavailable)
  expect(lines.length).toBe(1)
})

test('a thread keeps a bounded number of files open', () => {
  const { stores, use } = openStores()
  const open = () => readdirSync('/proc/self/fd').length
  const before = open()
  for (let n = 0; n < 100; n += 1) {
    const id = FN.slice(0, -3) + String(n).padStart(3, '0')
    use((store) => store.put(bytes('k'), bytes('v'), null, 0, never), 5_000, id)
    stores.trim()
  }
  expect(stores.size).toBe(16)
  expect(open() - before).toBeLessThanOrEqual(16 * 3)
  stores.close()
  expect(open()).toBe(before)
})

test('the keeper removes what has expired and writes logs back, of all stores', () => {
  const { dir, nodeLog, use } = openStores()
  const ids = [1, 2, 3].map((n) => FN.replace(/1$/, String(n)))
  const value = new Uint8Array(50_000)
  for (const id of ids) {
    for (let n = 0; n < 40; n += 1) {
      use((store) => store.put(bytes(`k${n}`), value, n < 30 ? 1_000 : null, 0, never), 5_000, id)
    }
  }
  const logBytes = (id: string) => statSync(`${kvStoreFile(kvStoreDir(dir, id))}-wal`).size
  for (const id of ids) expect(logBytes(id)).toBeGreaterThan(2_000_000)
  let now = Date.now()
  const keeper = new KvKeeper({ dir, log: nodeLog, now: () => now })
  keeper.look()
  // Not long enough to be written back at once, but not for ever.
  for (const id of ids) expect(logBytes(id)).toBeGreaterThan(2_000_000)
  now += 10_000
  keeper.look()
  for (const id of ids) {
    expect(logBytes(id)).toBeLessThan(10_000)
    expect(use((store) => store.usage().keys, 5_000, id)).toBe(10)
  }
})

test('the keeper makes no store where there is none, and leaves one alone that is ill', () => {
  const { dir, nodeLog, lines } = openStores()
  const keeper = new KvKeeper({ dir, log: nodeLog, now: () => Date.now() })
  keeper.look()
  mkdirSync(kvStoreDir(dir, FN), { recursive: true })
  mkdirSync(join(dir, 'not-a-function'))
  keeper.look()
  expect(readdirSync(kvStoreDir(dir, FN))).toEqual([])
  writeFileSync(kvStoreFile(kvStoreDir(dir, FN)), 'no database '.repeat(1000))
  keeper.look()
  expect(lines).toMatchObject([{ level: 'debug', error_type: 'SQLITE_NOTADB' }])
})
