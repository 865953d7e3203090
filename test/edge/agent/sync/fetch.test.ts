/** Fetching artifacts over real HTTP into a real cache: verification, single flight, retries with backoff. */

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'

import fc from 'fast-check'

import { EdgefnError, toEdgefnError } from '../../../../src/errors.ts'
import { ArtifactCache } from '../../../../src/edge/agent/cache/artifact-cache.ts'
import type { IndexDatabase } from '../../../../src/edge/agent/cache/cache-index.ts'
import { openCacheIndex } from '../../../../src/edge/agent/cache/cache-index.ts'
import { createStateStore } from '../../../../src/edge/agent/cache/state-store.ts'
import type { NodeState } from '../../../../src/edge/agent/node-state.ts'
import { EMPTY_STATE, NO_PREVIEWS } from '../../../../src/edge/agent/node-state.ts'
import { armsOf } from '../fixtures/arms.ts'
import { createArtifactSource } from '../../../../src/edge/agent/sync/artifact-source.ts'
import { createFetcher } from '../../../../src/edge/agent/sync/fetcher.ts'
import { NO_SCHEMAS } from '../../../../src/edge/agent/schemas/schema-keeper.ts'
import { Syncer } from '../../../../src/edge/agent/sync/syncer.ts'
import { backoffMs } from '../../../../src/protocol/backoff.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import type { Manifest } from '../../../../src/protocol/manifest.ts'
import type { SyncAck } from '../../../../src/protocol/plan.ts'
import { planSchema } from '../../../../src/protocol/plan.ts'
import { FixtureCp } from '../fixtures/cp.ts'
import { bytesArbitrary, sha256Of, SIGNING_KEY } from '../fixtures/manifests.ts'
import { makeDir, quietLog, removeDir, until } from '../fixtures/node.ts'

const cp = new FixtureCp()
let dir: string
let database: IndexDatabase
let cache: ArtifactCache

beforeAll(() => cp.start())
afterAll(() => cp.stop())
beforeEach(() => {
  dir = makeDir()
  database = openCacheIndex(join(dir, 'index.db'), quietLog)
  cache = new ArtifactCache({
    dir: join(dir, 'cache'),
    database,
    log: quietLog,
    bytes_max: 1e9,
    files_max: 100_000,
  })
  cache.open()
  cp.downloads.length = 0
  cp.onDownload = null
})
afterEach(() => {
  database.close()
  removeDir(dir)
})

function makeSource(manifests: ReadonlyMap<string, Manifest>) {
  const fetchArtifact = createFetcher({
    cache,
    closing: new AbortController().signal,
    signingKey: () => SIGNING_KEY,
    renewUrl: async () => null,
  })
  return createArtifactSource({
    cache,
    fetchArtifact,
    log: quietLog,
    find: (functionId, version) => manifests.get(`${functionId}/${version}`) ?? null,
    onFetched: () => {},
  })
}

const requestFor = ({ function_id, version, sha256 }: Manifest) => ({
  type: 'fetch' as const,
  function_id,
  version,
  sha256,
  damaged: false,
})

test('P6: whatever is not in the cache is fetched, once for all who ask, and is in the cache then', async () => {
  const manifests = new Map<string, Manifest>()
  const source = makeSource(manifests)
  let version = 0
  await fc.assert(
    fc.asyncProperty(bytesArbitrary, fc.integer({ min: 1, max: 5 }), async (bytes, askers) => {
      version += 1
      const manifest = cp.put({ version, bytes })
      manifests.set(`${manifest.function_id}/${version}`, manifest)
      cp.downloads.length = 0
      expect(cache.path(manifest)).toBe(null)
      const paths = await Promise.all(
        Array.from({ length: askers }, () => source.fetchOnDemand(requestFor(manifest))),
      )
      expect(new Set(paths).size).toBe(1)
      expect(cache.path(manifest)).toBe(paths[0] ?? '')
      expect(sha256Of(await Bun.file(paths[0] ?? '').bytes())).toBe(manifest.sha256)
      expect(cp.downloads.length).toBe(1)
      await source.fetchOnDemand(requestFor(manifest))
      expect(cp.downloads.length).toBe(1)
    }),
    { numRuns: 100 },
  )
})

test('an artifact that another key signed is refused before a byte is fetched', async () => {
  const manifest = { ...cp.put({ text: 'signed' }), signature: 'A'.repeat(86) }
  const source = makeSource(new Map())
  const error = await source.ensure(manifest).catch(toEdgefnError)
  expect(error).toMatchObject({ code: 'artifact_mismatch' })
  expect(cp.downloads).toEqual([])
})

test('a store that gives too many bytes, or hangs up in the middle, leaves nothing behind', async () => {
  const manifest = cp.put({ text: 'just so' })
  const source = makeSource(new Map())
  cp.onDownload = () => new Response('just so much more than was announced')
  expect(await source.ensure(manifest).catch(toEdgefnError)).toMatchObject({
    code: 'artifact_mismatch',
  })
  cp.onDownload = () => new Response('just')
  expect(await source.ensure(manifest).catch(toEdgefnError)).toMatchObject({
    code: 'artifact_mismatch',
  })
  expect(cache.usage()).toEqual({ bytes: 0, files: 0 })
})

test('P15: retries wait 1 s, 2 s, 4 s … up to 60 s, less at most a tenth', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (n, random) => {
        const whole = Math.min(LIMITS.backoffMsMax, 1000 * 2 ** (n - 1))
        expect(backoffMs(n)).toBe(whole)
        const delay = backoffMs(n, random)
        expect(delay).toBeLessThanOrEqual(whole)
        expect(delay).toBeGreaterThanOrEqual(whole * 0.9)
        expect(backoffMs(n + 1)).toBeGreaterThanOrEqual(backoffMs(n))
      },
    ),
    { numRuns: 300 },
  )
})

test('an artifact is tried five times with doubling delays, then its failure is reported', async () => {
  const unit = 20
  const times: number[] = []
  const acks: SyncAck[] = []
  const manifest = cp.put({ text: 'away' })
  const plan = planSchema.parse({
    node_id: 'n',
    base_revision: 0,
    revision: 1,
    full: true,
    actions: [{ action: 'put_function', function: manifest }],
  })
  const syncer = new Syncer(
    {
      cp: { plan: async () => plan, acknowledge: async (ack) => void acks.push(ack) },
      store: createStateStore(database, new Uint8Array(32)),
      cache,
      arms: armsOf([]),
      previews: NO_PREVIEWS,
      schemas: NO_SCHEMAS,
      workers: { prepare: async () => {}, assign: async () => {} },
      compiledOf: () => null,
      onAssigned: () => {},
      ensureArtifact: async () => {
        times.push(performance.now())
        throw new EdgefnError('artifact_store_unavailable', 'The store is away.')
      },
      onRemoved: () => {},
      log: quietLog,
      sync_ms: 60_000,
      retryDelayMs: (attempt) => (backoffMs(attempt) / 1000) * unit,
    },
    EMPTY_STATE,
  )
  syncer.poke()
  await until('it is reported', () => acks.length > 0)
  await syncer.close()
  expect(times.length).toBe(5)
  const delays = times.slice(1).map((time, index) => time - (times[index] ?? 0))
  for (const [index, delay] of delays.entries()) {
    expect(delay).toBeGreaterThanOrEqual(unit * 2 ** index - 2)
  }
  expect(acks[0]?.results).toMatchObject([
    { state: 'failed', error: { code: 'artifact_store_unavailable' } },
  ])
})

test('the applied state survives a restart exactly', async () => {
  const store = createStateStore(database, new Uint8Array(32))
  const manifest = cp.put({ id: 7, text: 'stored' })
  const route = cp.route(1, 7, '/x')
  const state: NodeState = {
    synced: true,
    revision: 42,
    functions: new Map([
      [manifest.function_id, { serving: manifest, pending: null, failure: null }],
    ]),
    routes: new Map([[route.route_id, route]]),
    schemas: new Map(),
    unacknowledged: null,
    unread_by: null,
  }
  store.save(state, EMPTY_STATE)
  expect(store.load()).toEqual(state)
  store.save({ ...state, revision: 43, functions: new Map() }, state)
  expect(store.load()).toMatchObject({ revision: 43, functions: new Map() })
})
