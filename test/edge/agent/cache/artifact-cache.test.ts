/** The artifact cache on real files and a real index: verification, LRU limits, reconciliation after damage and crashes. */

import { afterAll, afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import fc from 'fast-check'

import { toEdgefnError } from '../../../../src/errors.ts'
import type { ArtifactRow } from '../../../../src/edge/agent/cache/artifact-cache.ts'
import { ArtifactCache } from '../../../../src/edge/agent/cache/artifact-cache.ts'
import type { IndexDatabase } from '../../../../src/edge/agent/cache/cache-index.ts'
import { openCacheIndex } from '../../../../src/edge/agent/cache/cache-index.ts'
import { artifactKey } from '../../../../src/edge/agent/node-state.ts'
import { bytesArbitrary, chunksOf, sha256Of, uuid } from '../fixtures/manifests.ts'
import { makeDir, quietLog, removeDir } from '../fixtures/node.ts'

let dir: string
const opened: IndexDatabase[] = []

beforeEach(() => {
  dir = makeDir()
})

afterEach(() => {
  for (const database of opened.splice(0)) database.close()
  removeDir(dir)
})

function openCache(limits: { bytes_max?: number; files_max?: number } = {}, at = dir) {
  const database = openCacheIndex(join(at, 'index.db'), quietLog)
  opened.push(database)
  const cache = new ArtifactCache({
    dir: join(at, 'cache'),
    database,
    log: quietLog,
    bytes_max: limits.bytes_max ?? 1e9,
    files_max: limits.files_max ?? 1000,
  })
  cache.open()
  return cache
}

function artifact(id: number, version: number, bytes: Uint8Array) {
  return {
    function_id: uuid(id),
    version,
    sha256: sha256Of(bytes),
    size_bytes: bytes.byteLength,
  }
}

async function put(cache: ArtifactCache, id: number, version: number, bytes: Uint8Array) {
  const which = artifact(id, version, bytes)
  return { ...which, path: await cache.put(which, chunksOf(bytes)) }
}

function filesOnDisk(at = dir): string[] {
  return readdirSync(join(at, 'cache'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

async function codeOf(run: Promise<unknown>): Promise<string> {
  return run.then(
    () => 'no error',
    (thrown: unknown) => toEdgefnError(thrown).code,
  )
}

test('P4: only bytes with the announced SHA-256 and size are ever stored', async () => {
  const cache = openCache()
  let version = 0
  await fc.assert(
    fc.asyncProperty(
      bytesArbitrary,
      fc.option(fc.record({ at: fc.nat(), flip: fc.integer({ min: 1, max: 255 }) }), { nil: null }),
      fc.integer({ min: -3, max: 3 }),
      async (bytes, damage, resize) => {
        version += 1
        const sent = new Uint8Array(Math.max(1, bytes.byteLength + resize))
        sent.set(bytes.subarray(0, sent.byteLength))
        if (damage !== null) {
          const at = damage.at % sent.byteLength
          sent[at] = (sent[at] ?? 0) ^ damage.flip
        }
        const id = artifact(1, version, bytes)
        const same = Buffer.from(sent).equals(Buffer.from(bytes))
        const code = await codeOf(cache.put(id, chunksOf(sent)))
        expect(code).toBe(same ? 'no error' : 'artifact_mismatch')
        const path = cache.path(id)
        expect(path !== null).toBe(same)
        if (path !== null) expect(sha256Of(readFileSync(path))).toBe(id.sha256)
      },
    ),
    { numRuns: 150 },
  )
  for (const path of filesOnDisk()) {
    expect(cache.rows().map((row) => join(dir, 'cache', row.path))).toContain(path)
  }
})

interface Step {
  readonly kind: 'put' | 'touch' | 'serve'
  readonly id: number
  readonly version: number
  readonly size: number
}

const stepArbitrary: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('put', 'put', 'put', 'touch', 'serve'),
  id: fc.integer({ min: 1, max: 4 }),
  version: fc.integer({ min: 1, max: 4 }),
  size: fc.integer({ min: 8, max: 400 }),
})

test('P34: over its limits the least recently used files go, and never one in service', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(stepArbitrary, { maxLength: 25 }), async (steps) => {
      const at = makeDir()
      try {
        await runSteps(openCache({ bytes_max: 1200, files_max: 5 }, at), steps, at)
      } finally {
        for (const database of opened.splice(0)) database.close()
        removeDir(at)
      }
    }),
    { numRuns: 100 },
  )
})

async function runSteps(cache: ArtifactCache, steps: readonly Step[], at: string): Promise<void> {
  let order: string[] = []
  const use = (key: string) => (order = [...order.filter((other) => other !== key), key])
  let inService = new Set<string>()
  for (const step of steps) {
    const bytes = new Uint8Array(step.size).fill(step.id * 16 + step.version)
    const id = artifact(step.id, step.version, bytes)
    const key = artifactKey(id)
    const before = new Map(cache.rows().map((row) => [artifactKey(row), row]))
    if (step.kind === 'serve') {
      for (const gone of inService) if (before.has(gone)) use(gone)
      inService = new Set([key])
      cache.setInService(inService)
    } else if (step.kind === 'touch') {
      cache.touch(key)
      if (before.has(key)) use(key)
    } else if (!before.has(key)) {
      const code = await codeOf(cache.put(id, chunksOf(bytes)))
      if (code === 'no error') use(key)
      checkEviction(before, cache.rows(), key, order, inService)
    }
    // Clocks count milliseconds, and the order of two uses within one is not defined.
    await Bun.sleep(1.1)
    expect(cache.usage().bytes).toBeLessThanOrEqual(1200)
    expect(cache.usage().files).toBeLessThanOrEqual(5)
    expect(filesOnDisk(at).length).toBe(cache.usage().files)
  }
}

/** Everything that went was older than everything that stayed and could have gone. */
function checkEviction(
  before: ReadonlyMap<string, ArtifactRow>,
  after: readonly ArtifactRow[],
  added: string,
  order: readonly string[],
  inService: ReadonlySet<string>,
): void {
  const kept = new Set(after.map(artifactKey))
  const gone = [...before.keys()].filter((key) => !kept.has(key))
  const couldGo = [...before.keys()].filter(
    (key) => kept.has(key) && key !== added && !inService.has(key),
  )
  for (const key of gone) {
    expect(inService.has(key)).toBe(false)
    for (const other of couldGo) expect(order.indexOf(key)).toBeLessThan(order.indexOf(other))
  }
}

test('P35: a new version leaves the old ones where they are until the limits ask for room', async () => {
  const cache = openCache({ bytes_max: 20_000, files_max: 10 })
  let id = 0
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 12 }), async (versions) => {
      id += 1
      for (const row of cache.rows()) cache.drop(row)
      for (let version = 1; version <= versions; version++) {
        await put(cache, id, version, new Uint8Array(100).fill(version))
        cache.setInService(new Set([`${uuid(id)}/${version}`]))
        // With room for ten files, the newest ten are there.
        const kept = cache.rows().map((row) => row.version)
        expect(kept.length).toBe(Math.min(version, 10))
        expect(kept).toContain(version)
        await Bun.sleep(1.1)
      }
      const oldest = Math.max(1, versions - 9)
      for (let version = oldest; version <= versions; version++) {
        expect(existsSync(join(dir, 'cache', uuid(id), `${version}.wasm`))).toBe(true)
      }
    }),
    { numRuns: 100 },
  )
})

describe('at start', () => {
  test('temporary and unknown files, and entries without a file, are removed', async () => {
    const cache = openCache()
    const kept = await put(cache, 1, 1, new Uint8Array(50))
    const lost = await put(cache, 1, 2, new Uint8Array(60))
    writeFileSync(lost.path, 'short')
    writeFileSync(`${kept.path}.0.tmp`, 'half')
    mkdirSync(join(dir, 'cache', 'odd', 'deep'), { recursive: true })
    writeFileSync(join(dir, 'cache', 'odd', 'deep', 'x'), 'x')
    const again = openCache()
    expect(again.path(kept)).toBe(kept.path)
    expect(again.path(lost)).toBe(null)
    expect(filesOnDisk()).toEqual([kept.path])
  })

  test('a flipped bit is found by reading, and only that file goes', async () => {
    const cache = openCache()
    const kept = await put(cache, 1, 1, new Uint8Array(5000).fill(1))
    const damaged = await put(cache, 2, 1, new Uint8Array(5000).fill(2))
    const bytes = readFileSync(damaged.path)
    bytes[2500] = 3
    writeFileSync(damaged.path, bytes)
    const again = openCache()
    const removed = await again.verify()
    expect(removed.map(artifactKey)).toEqual([artifactKey(damaged)])
    expect(filesOnDisk()).toEqual([kept.path])
  })

  test('a damaged index is put aside and a new one begun', async () => {
    await put(openCache(), 1, 1, new Uint8Array(50))
    for (const database of opened.splice(0)) database.close()
    // Its write-ahead log would heal the file.
    rmSync(join(dir, 'index.db-wal'), { force: true })
    writeFileSync(
      join(dir, 'index.db'),
      'this is not a database, but it is long enough to look'.repeat(99),
    )
    const cache = openCache()
    expect(cache.rows()).toEqual([])
    await put(cache, 1, 1, new Uint8Array(50))
    expect(existsSync(join(dir, 'index.db.damaged'))).toBe(true)
  })
})

const smallDisk = join(tmpdir(), `edgefn-small-disk-${process.pid}`)
mkdirSync(smallDisk)
const mounted =
  Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', smallDisk]).exitCode === 0
afterAll(() => {
  if (mounted) Bun.spawnSync(['umount', smallDisk])
  removeDir(smallDisk)
})

test.skipIf(!mounted)(
  'a full disk makes room by eviction, and says so when it cannot',
  async () => {
    const cache = openCache({}, smallDisk)
    const inService = new Set([`${uuid(1)}/1`, `${uuid(1)}/2`])
    cache.setInService(inService)
    for (let version = 1; version <= 12; version++) {
      await put(cache, 1, version, new Uint8Array(150_000).fill(version))
      await Bun.sleep(1.1)
    }
    const kept = cache.rows().map(artifactKey)
    expect(kept).toContain(`${uuid(1)}/12`)
    for (const key of inService) expect(kept).toContain(key)
    cache.setInService(new Set(kept))
    expect(await codeOf(put(cache, 2, 1, new Uint8Array(900_000)))).toBe('function_unavailable')
    expect(cache.rows().map(artifactKey)).toEqual(kept)
    expect(filesOnDisk(smallDisk).length).toBe(kept.length)
    for (const database of opened.splice(0)) database.close()
  },
)

test('an artifact that cannot fit beside what is in service is refused by name of the limit', async () => {
  const cache = openCache({ bytes_max: 100 })
  cache.setInService(new Set([`${uuid(1)}/1`]))
  await put(cache, 1, 1, new Uint8Array(80))
  expect(await codeOf(put(cache, 2, 1, new Uint8Array(30)))).toBe('function_unavailable')
  expect(cache.rows().length).toBe(1)
})
