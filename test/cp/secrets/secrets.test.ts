/** Secrets on a whole control plane: put, pinned by versions, given to the nodes that run them, and to nobody else. */

import { expect, test } from 'bun:test'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { VersionView } from '../../../src/protocol/api.ts'
import type { Manifest } from '../../../src/protocol/manifest.ts'
import type { Plan } from '../../../src/protocol/plan.ts'
import type { SecretView } from '../../../src/protocol/secrets.ts'
import { startControlPlane } from '../../../src/cp/main.ts'
import { openDatabase } from '../../../src/cp/db/libsql.ts'
import { MIGRATIONS } from '../../../src/cp/db/migrations.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { ackOf, testPlane, type TestPlane } from '../api/test-plane.ts'

const put = (cp: TestPlane, name: string, value: string, fields: Record<string, unknown> = {}) =>
  cp.must<SecretView>('POST', '/secrets', { name, value, ...fields })

function manifestsOf(plan: Plan): Manifest[] {
  return plan.actions.flatMap((action) =>
    action.action === 'put_function' ? [action.function] : [],
  )
}

/** Everything that the database holds, as text. */
async function everything(cp: TestPlane): Promise<string> {
  const db = await openDatabase({
    url: cp.config.database_url,
    auth_token: null,
    migrations: MIGRATIONS,
  })
  try {
    const tables = await db.all(`SELECT name FROM sqlite_schema WHERE type = 'table'`)
    const rows = []
    for (const { name } of tables) rows.push(await db.all(`SELECT * FROM "${name}"`))
    return JSON.stringify(rows)
  } finally {
    await db.close()
  }
}

test('a value reaches the nodes that run the version, as it was pinned, and nobody else', async () => {
  await using cp = await testPlane()
  const [tokyo, osaka] = [await cp.addNode('tokyo-1'), await cp.addNode('osaka-1')]
  expect((await put(cp, 'STRIPE', 'the-first-value')).number).toBe(1)
  expect((await put(cp, 'STRIPE', 'the-second-value')).number).toBe(2)
  await cp.addFunction('pay', { secrets: { KEY: 'STRIPE', OLD: 'STRIPE@1' } })
  await put(cp, 'STRIPE', 'the-third-value')
  const shown = await cp.must<VersionView>('GET', '/functions/pay/versions/1')
  expect(shown.secrets).toEqual({
    KEY: { name: 'STRIPE', number: 2, scope: 'all', deleted: false },
    OLD: { name: 'STRIPE', number: 1, scope: 'all', deleted: false },
  })
  await cp.deploy('pay', { target: 'tokyo-1' })
  const sync = (node: string, bearer?: string) =>
    cp.must<Plan>('GET', `/nodes/${node}/sync`, undefined, bearer)
  const plan = await sync(tokyo.node_id, tokyo.token)
  expect(manifestsOf(plan)[0]?.secrets).toEqual({
    KEY: 'the-second-value',
    OLD: 'the-first-value',
  })
  expect(manifestsOf(await sync(osaka.node_id, osaka.token))).toEqual([])
  // Whoever may look at a plan may not look at secrets, and a notice may cross a broker of somebody else.
  const seen = [
    await sync(tokyo.node_id),
    await cp.must('POST', `/nodes/${tokyo.node_id}/heartbeat`, beat(tokyo.node_id), tokyo.token),
    await cp.must('GET', '/secrets'),
    await cp.must('GET', '/functions/pay/versions'),
    await cp.must('GET', '/audit-log?limit=500'),
    await everything(cp),
    cp.complaints,
  ]
  for (const text of seen.map((one) => JSON.stringify(one)))
    expect(text).not.toMatch(/the-\w+-value/)
  await cp.must('POST', `/nodes/${tokyo.node_id}/sync/ack`, ackOf(plan), tokyo.token)
})

function beat(node_id: string) {
  return {
    ...{ node_id, status: 'online', cpu_percent: 1, mem_bytes: 1, functions: [], revision: 0 },
    ...{ version: '1', uptime_seconds: 1, cache_bytes: 0, workers: 1 },
    sent_at: new Date().toISOString(),
  }
}

test('each version of a split has its own values, and a preview has those of its version', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  for (const value of ['old', 'new']) {
    await put(cp, 'A', value)
    await cp.addFunction('split', { secrets: { A: 'A' } })
  }
  await cp.deploy('split', {
    versions: [
      { version: 1, weight: 60 },
      { version: 2, weight: 40 },
    ],
  })
  const [manifest] = manifestsOf(await cp.syncNode(node, 0))
  expect(manifest?.secrets).toEqual({ A: 'old' })
  expect(manifest?.split?.arms[0]?.function.secrets).toEqual({ A: 'new' })
  await put(cp, 'A', 'newest')
  await cp.addFunction('split', { secrets: { A: 'A' } })
  const preview = await cp.must<{ token: string }>(
    'POST',
    '/functions/split/versions/3/preview',
    {},
  )
  const path = `/nodes/${node.node_id}/previews`
  const previewed = await cp.must<Manifest>('POST', path, { token: preview.token }, node.token)
  expect([previewed.version, previewed.secrets]).toEqual([3, { A: 'newest' }])
})

test('a secret of one function is that function’s, and goes before one for all', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  for (const name of ['mine', 'other']) await cp.addFunction(name)
  await put(cp, 'TOKEN', 'for-all')
  await put(cp, 'TOKEN', 'for-mine', { function: 'mine' })
  await put(cp, 'ONLY', 'only-mine', { function: 'mine' })
  for (const name of ['mine', 'other']) {
    await cp.addFunction(name, { secrets: { TOKEN: 'TOKEN' } })
    await cp.deploy(name)
  }
  const plan = await cp.syncNode(node, 0)
  expect(manifestsOf(plan).map(({ name, secrets }) => [name, secrets['TOKEN']])).toEqual([
    ['mine', 'for-mine'],
    ['other', 'for-all'],
  ])
  const refused = await cp.call('POST', '/functions', { name: 'other', secrets: { A: 'ONLY' } })
  expect(refused).toMatchObject({
    status: 400,
    body: { error: { code: 'invalid_field', details: { field: 'secrets.A' } } },
  })
  for (const secrets of [{ A: 'TOKEN@7' }, { A: 'NONE' }, { '1': 'TOKEN' }, { A: 'a b' }]) {
    expect((await cp.call('POST', '/functions', { name: 'x', secrets })).status).toBe(400)
  }
  const both = { name: 'x', env: { A: '1' }, secrets: { A: 'TOKEN' } }
  expect((await cp.call('POST', '/functions', both)).status).toBe(400)
  expect((await cp.call('GET', '/functions/x')).status).toBe(404)
})

test('a secret in use stays; erased, its values are gone and its versions can no longer be deployed', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  await put(cp, 'A', 'value-of-a')
  await cp.addFunction('uses', { secrets: { A: 'A' } })
  const remove = (query = '') => cp.call('DELETE', `/secrets/A${query}`)
  expect(await remove()).toMatchObject({
    status: 409,
    body: { error: { code: 'conflict', details: { users: [{ version: 1, live: false }] } } },
  })
  await cp.deploy('uses')
  await cp.syncNode(node, 0)
  expect(await remove('?force=true')).toMatchObject({ status: 409 })
  await cp.addFunction('uses')
  await cp.deploy('uses', { version: 2 })
  await cp.syncNode(node, 0)
  expect((await remove('?force=true')).status).toBe(204)
  expect((await remove()).status).toBe(404)
  const again = await cp.call('POST', '/functions/uses/deploy', { version: 1 })
  expect(again).toMatchObject({ status: 409, body: { error: { code: 'conflict' } } })
  expect((await put(cp, 'A', 'another')).number).toBe(1)
})

test('a start seals older values with the newest key, and is refused without a key that is needed', async () => {
  await using cp = await testPlane()
  await put(cp, 'A', 'value-of-a')
  const path = join(cp.config.data_dir, 'keys', 'sealing.keys')
  const before = await readFile(path, 'utf8')
  const key = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64')
  await writeFile(path, `newer ${key}\n${before}`)
  await cp.restart()
  expect(await everything(cp)).toContain('1.newer.')
  await writeFile(path, `newer ${key}\n`)
  await cp.restart()
  await writeFile(path, before)
  const log = createLog({ component: 'cp', level: 'error', write: () => undefined })
  await cp.plane().close()
  await expect(startControlPlane(cp.config, log)).rejects.toThrow('sealed with the key newer')
  await writeFile(path, `newer ${key}\n`)
  await cp.restart()
})
