/** P32: every endpoint that changes something leaves an entry of its own request in the audit log. The table of endpoints says which those are. */

import { expect, test } from 'bun:test'

import { openDatabase } from '../../../src/cp/db/libsql.ts'
import { MIGRATIONS } from '../../../src/cp/db/migrations.ts'
import type { DeploymentView, NodeCredentials } from '../../../src/protocol/api.ts'
import type { AuditRow } from '../../../src/protocol/audit.ts'
import { ackOf, handlerModule, heartbeatOf, testPlane, type TestPlane } from '../api/test-plane.ts'

/** What changes nothing that anybody decided: signs of life, reports and questions. docs/AUDIT.md has the same list. */
const NO_MUTATIONS: Readonly<Record<string, string>> = {
  'post /nodes/{id}/heartbeat': 'a sign of life',
  'post /nodes/{id}/sync/ack': 'a report of what was asked for',
  'post /nodes/{id}/telemetry': 'figures',
  'post /nodes/{id}/previews': 'a question, whose token was recorded when it was made',
  'post /functions/{id}/plan': 'a question',
  'post /routes/check': 'a question',
}

/** Calls with a request id of its own. */
type Send = <T>(method: string, path: string, body?: unknown, bearer?: string) => Promise<T>

interface Stage {
  readonly cp: TestPlane
  readonly node: NodeCredentials
  readonly send: Send
}

/** How each of the others is brought to change something. */
const MUTATIONS: Readonly<Record<string, (stage: Stage) => Promise<unknown>>> = {
  'post /functions': ({ send }) => send('POST', '/functions', { name: 'made' }),
  'post /functions/register': ({ send }) => send('POST', '/functions/register', { name: 'made' }),
  'put /functions/{id}': ({ send }) => send('PUT', '/functions/one', { description: 'other' }),
  'delete /functions/{id}': async ({ cp, send }) => {
    await cp.addFunction('gone')
    await send('DELETE', '/functions/gone')
  },
  'post /functions/{id}/versions/{version}/complete': async ({ cp, send }) => {
    const made = await cp.must<{ upload_url: string; version: number }>('POST', '/functions', {
      name: 'late',
    })
    // With the directory store the PUT completes the version; its entry has the request id of the PUT.
    const id = Bun.randomUUIDv7()
    await fetch(made.upload_url, {
      method: 'PUT',
      body: handlerModule,
      headers: { 'x-request-id': id },
    })
    const { items } = await cp.must<{ items: AuditRow[] }>('GET', '/audit-log?limit=1')
    expect(items[0]).toMatchObject({
      operation: 'update',
      resource_type: 'version',
      request_id: id,
    })
    await send('POST', `/functions/late/versions/${made.version}/complete`)
    return 'changed nothing'
  },
  'post /functions/{id}/versions/{version}/preview': ({ send }) =>
    send('POST', '/functions/one/versions/1/preview', {}),
  'post /functions/{id}/deploy': ({ send }) => send('POST', '/functions/one/deploy', {}),
  'post /functions/{id}/rollback': async ({ cp, send }) => {
    await cp.addFunction('back')
    await cp.addFunction('back')
    for (const version of [1, 2]) {
      await cp.deploy('back', { version })
      await syncAll(cp)
    }
    await send('POST', '/functions/back/rollback', { to: 1 })
  },
  'post /deployments/{id}/pause': (stage) => order(stage, ['pause']),
  'post /deployments/{id}/resume': (stage) => order(stage, ['pause', 'resume']),
  'post /deployments/{id}/promote': (stage) => order(stage, ['promote']),
  'post /deployments/{id}/abort': (stage) => order(stage, ['abort']),
  'post /routes': ({ send }) => send('POST', '/routes', { path: '/made', function: 'one' }),
  'put /routes/{id}': async ({ cp, send }) => {
    const { id } = await cp.addRoute({ path: '/changed', function: 'one' })
    await send('PUT', `/routes/${id}`, { priority: 5 })
  },
  'delete /routes/{id}': async ({ cp, send }) => {
    const { id } = await cp.addRoute({ path: '/gone', function: 'one' })
    await send('DELETE', `/routes/${id}`)
  },
  'post /join-tokens': ({ send }) => send('POST', '/join-tokens', { pop_id: 'tokyo-1' }),
  'post /nodes/register': async ({ cp, send }) => {
    const { token } = await cp.must<{ token: string }>('POST', '/join-tokens', { pop_id: 'kobe-1' })
    const body = { pop_id: 'kobe-1', version: '1', os: 'linux', arch: 'x64', http_port: 1 }
    await send('POST', '/nodes/register', body, token)
  },
  'post /nodes/{id}/token': ({ node, send }) =>
    send('POST', `/nodes/${node.node_id}/token`, undefined, node.token),
  'post /nodes/{id}/commands': ({ node, send }) =>
    send('POST', `/nodes/${node.node_id}/commands`, { type: 'sync' }),
  'post /nodes/{id}/commands/{command_id}/result': async ({ cp, send }) => {
    const node = await cp.addNode('nara-1')
    const path = `/nodes/${node.node_id}/commands`
    const { id } = await cp.must<{ id: string }>('POST', path, { type: 'sync' })
    await cp.must('GET', `${path}/pending`, undefined, node.token)
    const result = { state: 'succeeded', detail: {}, error: null }
    await send('POST', `${path}/${id}/result`, result, node.token)
  },
  'delete /nodes/{id}': async ({ cp, send }) => {
    const node = await cp.addNode('gone-1')
    await send('DELETE', `/nodes/${node.node_id}`)
  },
  'post /api-keys': ({ send }) => send('POST', '/api-keys', { name: 'made', role: 'viewer' }),
  'delete /api-keys/{id}': async ({ cp, send }) => {
    const body = { name: 'gone', role: 'viewer' }
    const { id } = await cp.must<{ id: string }>('POST', '/api-keys', body)
    await send('DELETE', `/api-keys/${id}`)
  },
  'post /webhooks': ({ send }) => send('POST', '/webhooks', { url: 'http://127.0.0.1:9/made' }),
  'delete /webhooks/{id}': async ({ cp, send }) => {
    const body = { url: 'http://127.0.0.1:9/gone' }
    const { id } = await cp.must<{ id: string }>('POST', '/webhooks', body)
    await send('DELETE', `/webhooks/${id}`)
  },
  'post /schemas': ({ send }) =>
    send('POST', '/schemas', {
      function: 'one',
      sql: 'CREATE TABLE made (id INTEGER PRIMARY KEY)',
    }),
  'post /secrets': ({ send }) => send('POST', '/secrets', { name: 'MADE', value: 'v' }),
  'delete /secrets/{name}': async ({ cp, send }) => {
    await cp.must('POST', '/secrets', { name: 'GONE', value: 'v' })
    await send('DELETE', '/secrets/GONE')
  },
  'post /audit-log/mismatches/accept': ({ send }) =>
    send('POST', '/audit-log/mismatches/accept', { reason: 'a test' }),
}

const nodesOf = new WeakMap<TestPlane, NodeCredentials[]>()

async function syncAll(cp: TestPlane): Promise<void> {
  for (const node of nodesOf.get(cp) ?? []) await cp.syncNode(node, 0)
}

/** Gives orders to a rollout that waits for its nodes; the last one is the one that counts. */
async function order({ cp, send }: Stage, orders: readonly string[]): Promise<void> {
  const name = `rolls-${orders.join('-')}`
  for (const version of [1, 2]) {
    await cp.addFunction(name)
    if (version === 1) await cp.deploy(name)
    await syncAll(cp)
  }
  const { id } = await cp.must<DeploymentView>('POST', `/functions/${name}/deploy`, {
    version: 2,
    strategy: 'rolling',
  })
  for (const each of orders.slice(0, -1)) await cp.must('POST', `/deployments/${id}/${each}`, {})
  await send('POST', `/deployments/${id}/${orders.at(-1)}`, {})
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

test('P32: every mutating endpoint writes an entry, or is on the list of those that change nothing', async () => {
  await using cp = await testPlane()
  const document = (await (await fetch(`${cp.plane().api_url}/openapi.json`)).json()) as Document
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods)
      .filter((method) => method !== 'get' && path.startsWith('/api/v1/'))
      .map((method) => `${method} ${path.replace('/api/v1', '')}`),
  )
  const known = [...Object.keys(MUTATIONS), ...Object.keys(NO_MUTATIONS)]
  expect(operations.sort()).toEqual(known.sort())

  const node = await cp.addNode('tokyo-1')
  nodesOf.set(cp, [node, await cp.addNode('tokyo-1')])
  await cp.addFunction('one')
  const silent: string[] = []
  for (const [operation, bring] of Object.entries(MUTATIONS)) {
    const requestId = Bun.randomUUIDv7()
    const answer = await bring({ cp, node, send: sender(cp, requestId) })
    const rows = await cp.must<{ items: AuditRow[] }>('GET', '/audit-log?limit=50')
    const entries = rows.items.filter((row) => row.request_id === requestId)
    if (answer === 'changed nothing') expect([operation, entries]).toEqual([operation, []])
    else if (entries.length === 0) silent.push(operation)
    for (const row of entries) {
      expect(row.actor).toMatch(/^(?:key|node|join-token):/)
      const both = [row.old_value, row.new_value].map((value) => value !== null)
      const said = [operation, row.operation, ...both]
      // The token that a node had before is a secret, and no other field of it changes.
      if (operation === 'post /nodes/{id}/token') expect(said[3]).toBe(true)
      else if (row.operation === 'update') expect(said).toEqual([operation, 'update', true, true])
      else if (row.operation === 'delete') expect(said[2]).toBe(true)
      else expect(said).toContain(true)
    }
  }
  expect(silent).toEqual([])
  expect(await cp.must('GET', '/audit-log/verification')).toMatchObject({ intact: true })
}, 120_000)

function sender(cp: TestPlane, requestId: string): Send {
  return async <T>(method: string, path: string, body?: unknown, bearer = cp.key) => {
    const response = await fetch(`${cp.plane().api_url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${bearer}`, 'x-request-id': requestId },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return (text === '' ? null : JSON.parse(text)) as T
  }
}

test('what is on that list writes nothing', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  await cp.addFunction('one')
  await cp.deploy('one')
  const count = async () =>
    (await cp.must<{ items: AuditRow[] }>('GET', '/audit-log?limit=500')).items.length
  const before = await count()
  const path = `/nodes/${node.node_id}`
  await cp.must('POST', `${path}/heartbeat`, heartbeatOf(node.node_id), node.token)
  await cp.must('POST', '/functions/one/plan', {})
  await cp.must('POST', '/routes/check', { path: '/free', function: 'one' })
  const plan = await cp.must<Parameters<typeof ackOf>[0]>(
    'GET',
    `${path}/sync`,
    undefined,
    node.token,
  )
  await cp.must('POST', `${path}/sync/ack`, ackOf(plan), node.token)
  expect(await count()).toBe(before)
})

test('a change whose entry cannot be written is not made', async () => {
  await using cp = await testPlane()
  await cp.addFunction('one')
  const beside = await openDatabase({
    ...{ url: cp.config.database_url, auth_token: null, migrations: MIGRATIONS },
  })
  const full = "BEGIN SELECT RAISE(ABORT, 'the log is full'); END"
  await beside.run(`CREATE TRIGGER full BEFORE INSERT ON audit_log ${full}`)
  const route = { function: 'one', path: '/one' }
  const routes = async () => (await cp.must<{ items: unknown[] }>('GET', '/routes')).items
  expect((await cp.call('POST', '/routes', route)).status).toBe(500)
  expect((await cp.call('DELETE', '/functions/one')).status).toBe(500)
  expect(await routes()).toEqual([])
  expect(await cp.must('GET', '/functions/one')).toMatchObject({ name: 'one' })
  await beside.run('DROP TRIGGER full')
  await beside.close()
  await cp.must('POST', '/routes', route)
  expect(await routes()).toHaveLength(1)
})
