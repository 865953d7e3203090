/** What a node does with the answer to its heartbeat: real HTTP, real sync, real files; only the workers are not there. */

import { expect, test } from 'bun:test'
import { join } from 'node:path'

import fc from 'fast-check'

import { ArtifactCache } from '../../../../src/edge/agent/cache/artifact-cache.ts'
import { openCacheIndex } from '../../../../src/edge/agent/cache/cache-index.ts'
import { createStateStore } from '../../../../src/edge/agent/cache/state-store.ts'
import { createCpClient } from '../../../../src/edge/agent/cp-client.ts'
import { HeartbeatSender } from '../../../../src/edge/agent/heartbeat/heartbeat.ts'
import { EMPTY_STATE, NO_PREVIEWS } from '../../../../src/edge/agent/node-state.ts'
import { armsOf } from '../fixtures/arms.ts'
import { NO_SCHEMAS } from '../../../../src/edge/agent/schemas/schema-keeper.ts'
import { Syncer } from '../../../../src/edge/agent/sync/syncer.ts'
import type { NodeCredentials } from '../../../../src/protocol/api.ts'
import { heartbeatSchema, type Notice } from '../../../../src/protocol/messages.ts'
import { FixtureCp } from '../fixtures/cp.ts'
import { uuid } from '../fixtures/manifests.ts'
import { makeDir, quietLog, removeDir, until } from '../fixtures/node.ts'

const NODE = 'tokyo-1-a'

/** Sync and heartbeats of a node that asks for plans by itself once a minute, which no test waits for. */
function openNode(
  cp: FixtureCp,
  prepare: () => Promise<void>,
  claimsRevision: () => number | null,
) {
  const dir = makeDir()
  const database = openCacheIndex(join(dir, 'index.db'), quietLog)
  const closing = new AbortController()
  const client = createCpClient({
    cp: cp.url,
    credentials: () => ({ node_id: NODE, token: 't' }) as NodeCredentials,
    closing: closing.signal,
    onOutcome: () => {},
  })
  const cache = new ArtifactCache({
    dir: join(dir, 'cache'),
    database,
    log: quietLog,
    bytes_max: 1e9,
    files_max: 100,
  })
  cache.open()
  const syncer = new Syncer(
    {
      cp: client,
      store: createStateStore(database, new Uint8Array(32)),
      cache,
      arms: armsOf([]),
      previews: NO_PREVIEWS,
      schemas: NO_SCHEMAS,
      workers: { prepare, assign: async () => {} },
      compiledOf: () => null,
      onAssigned: () => {},
      ensureArtifact: async () => '/somewhere.wasm',
      onRemoved: () => {},
      log: quietLog,
      sync_ms: 60_000,
      retryDelayMs: () => 10,
    },
    EMPTY_STATE,
  )
  const heartbeat = new HeartbeatSender({
    heartbeat_ms: 1,
    payload: () =>
      heartbeatSchema.parse({
        node_id: NODE,
        status: 'online',
        cpu_percent: 1,
        mem_bytes: 1,
        functions: [],
        revision: claimsRevision() ?? syncer.state.revision,
        version: '1',
        uptime_seconds: 1,
        cache_bytes: 0,
        workers: 1,
        sent_at: new Date().toISOString(),
      }),
    mqtt: null,
    postHttp: (beat) => client.heartbeat(beat),
    onCommands: () => undefined,
    onBehind: () => syncer.poke(),
    onMqttPlace: () => {},
    log: quietLog,
    retryDelayMs: () => 10,
  })
  return {
    syncer,
    heartbeat,
    async [Symbol.asyncDispose]() {
      closing.abort()
      await heartbeat.close()
      await syncer.close()
      database.close()
      removeDir(dir)
    },
  }
}

test('P14: a node applies what the answer to a heartbeat carries, and beats on while it does', async () => {
  const cp = new FixtureCp()
  cp.start()
  const scenario = fc.record({
    functions: fc.integer({ min: 1, max: 3 }),
    type: fc.constantFrom('deploy', 'routes', 'undeploy'),
    // Whether the notice alone says that there is something: the revision that the node names is the newest already.
    noticeAlone: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(scenario, async ({ functions, type, noticeAlone }) => {
      cp.functions.clear()
      cp.applied = 0
      cp.acks.length = 0
      cp.notices = []
      const { promise: beatenOn, resolve: goOn } = Promise.withResolvers<void>()
      let preparing = 0
      const prepare = () => {
        preparing += 1
        return beatenOn
      }
      const claims = () => (noticeAlone ? cp.revision : null)
      await using node = openNode(cp, prepare, claims)
      const manifests = Array.from({ length: functions }, (_, at) => cp.put({ id: at + 1 }))
      const head = { notice_id: uuid(7777), revision: cp.revision }
      const notices: Record<string, Notice> = {
        deploy: { type: 'deploy', ...head, ...(manifests[0] as (typeof manifests)[0]), routes: [] },
        routes: { type: 'routes', ...head },
        undeploy: { type: 'undeploy', ...head, function_id: uuid(9) as never },
      }
      cp.notices = [notices[type] as Notice]
      node.heartbeat.open()
      await until('the notice is acted on', () => preparing > 0)
      const before = cp.beats.length
      await until('the node beats on', () => cp.beats.length > before + 1)
      expect(cp.acks).toEqual([])
      cp.notices = []
      goOn()
      await until('all of it is in service', () => cp.acks.length > 0)
      expect(node.syncer.state.revision).toBe(cp.revision)
      for (const { function_id, version } of manifests) {
        expect(node.syncer.state.functions.get(function_id)?.serving?.version).toBe(version)
      }
    }),
    { numRuns: 100 },
  )
  await cp.stop()
}, 120_000)

test('an answer that says nothing new makes the node ask for nothing', async () => {
  const cp = new FixtureCp()
  cp.start()
  let prepared = 0
  {
    await using node = openNode(
      cp,
      async () => void (prepared += 1),
      () => cp.revision,
    )
    cp.put({ id: 1 })
    node.heartbeat.open()
    await until('several beats are answered', () => cp.beats.length > 5)
    expect(node.syncer.counts).toEqual({ succeeded: 0, failed: 0 })
  }
  expect(prepared).toBe(0)
  await cp.stop()
})
