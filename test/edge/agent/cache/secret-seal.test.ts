/** Secrets at rest on a node: opened again with its key, and nothing of them in the index without it. */

import { expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { openCacheIndex } from '../../../../src/edge/agent/cache/cache-index.ts'
import { readOrMakeSecretKey } from '../../../../src/edge/agent/cache/secret-seal.ts'
import { createStateStore } from '../../../../src/edge/agent/cache/state-store.ts'
import { EMPTY_STATE, type NodeState } from '../../../../src/edge/agent/node-state.ts'
import { manifestSchema } from '../../../../src/protocol/manifest.ts'
import { createLog } from '../../../../src/telemetry/log.ts'

const functionId = Bun.randomUUIDv7()
const manifest = (version: number, secrets: Record<string, string>) => ({
  function_id: functionId,
  name: 'pay',
  version,
  deployment_id: Bun.randomUUIDv7(),
  ...{ abi: 'edgefn', entrypoint: 'handle', memory_pages: 1, max_execution_ms: 1, quotas: {} },
  env: { secrets: 'not one' },
  secrets,
  ...{ artifact_url: 'http://cp/a', sha256: 'a'.repeat(64), size_bytes: 9, signature: 's' },
})

test('what is stored of secrets opens with the key of the node only', () => {
  const dir = mkdtempSync(join(tmpdir(), 'edgefn-seal-'))
  try {
    const log = createLog({ component: 'test', level: 'error', write: () => undefined })
    const path = join(dir, 'index.db')
    const keyPath = join(dir, 'secrets.key')
    const key = readOrMakeSecretKey(keyPath)
    expect(readOrMakeSecretKey(keyPath)).toEqual(key)
    const serving = manifestSchema.parse({
      ...manifest(1, { KEY: 'value-of-one' }),
      split: {
        ...{ sticky: 'client', weight: 90 },
        arms: [{ weight: 10, function: manifest(2, { KEY: 'value-of-two' }) }],
      },
    })
    const entry = { serving, pending: null, failure: null }
    const state: NodeState = {
      ...EMPTY_STATE,
      synced: true,
      revision: 7,
      functions: new Map([[functionId, entry]]),
    }
    const database = openCacheIndex(path, log)
    createStateStore(database, key).save(state, EMPTY_STATE)
    expect(createStateStore(database, key).load()).toEqual(state)
    const other = createStateStore(database, crypto.getRandomValues(new Uint8Array(32))).load()
    expect([other.revision, other.functions.size]).toEqual([0, 0])
    for (const file of [path, `${path}-wal`, keyPath]) {
      expect([file, (statSync(file).mode & 0o777).toString(8)]).toEqual([file, '600'])
      expect(readFileSync(file).includes('value-of')).toBe(false)
    }
    database.close()
    writeFileSync(keyPath, 'short\n')
    expect(readOrMakeSecretKey(keyPath)).not.toEqual(key)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test('an entry from before there were secrets is read as one without', () => {
  const { secrets: _secrets, ...old } = manifest(1, {})
  expect(manifestSchema.parse(old).secrets).toEqual({})
})
