/** Nodes as witnesses of the audit log, by their heartbeats over HTTP. */

import { expect, test } from 'bun:test'

import { SeenHeads } from '../../../src/cp/audit/seen-heads.ts'
import { openDatabase } from '../../../src/cp/db/libsql.ts'
import { MIGRATIONS } from '../../../src/cp/db/migrations.ts'
import type { NodeCredentials } from '../../../src/protocol/api.ts'
import type { AuditHead } from '../../../src/protocol/audit-chain.ts'
import type { AuditRow, AuditVerdictView } from '../../../src/protocol/audit.ts'
import { nodeIdSchema } from '../../../src/protocol/ids.ts'
import type { EventMessage, HeartbeatAnswer } from '../../../src/protocol/messages.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { heartbeatOf, testPlane, type TestPlane } from '../api/test-plane.ts'

function beat(cp: TestPlane, node: NodeCredentials, audit_head?: AuditHead) {
  const body = heartbeatOf(node.node_id, audit_head === undefined ? {} : { audit_head })
  return cp.must<HeartbeatAnswer>('POST', `/nodes/${node.node_id}/heartbeat`, body, node.token)
}

const verdictOf = (cp: TestPlane) => cp.must<AuditVerdictView>('GET', '/audit-log/verification')
const mismatchesIn = async (cp: TestPlane) => {
  const path = '/audit-log?operation=mismatch&limit=500'
  return (await cp.must<{ items: AuditRow[] }>('GET', path)).items
}

test('a node is given the newest head, and what it then tells is found in the log', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  const { audit_head: first } = await beat(cp, node)
  if (first === undefined) throw new Error('no head')
  expect(first).toEqual({ ...first, replaces: false })
  await cp.addFunction('one')
  const { seq, hash } = first
  const { audit_head: second } = await beat(cp, node, { seq, hash })
  expect(second?.seq).toBeGreaterThan(seq)
  expect(await verdictOf(cp)).toMatchObject({
    intact: true,
    nodes: 1,
    mismatches: 0,
    head: { seq: second?.seq, hash: second?.hash },
    heads: [{ node_id: node.node_id, seq, hash, state: 'matches' }],
  })
})

test('a head that the log does not have is told everywhere once, and kept through a restart', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  const other = await cp.addNode('tokyo-1')
  const { audit_head: head } = await beat(cp, node)
  if (head === undefined) throw new Error('no head')
  const differs = { seq: head.seq, hash: 'a'.repeat(64) }
  const missing = { seq: head.seq + 1000, hash: 'b'.repeat(64) }
  for (let count = 0; count < 3; count += 1) {
    // No new head for it: it is to keep what it has seen.
    expect((await beat(cp, node, differs)).audit_head).toBeUndefined()
    expect((await beat(cp, other, missing)).audit_head).toBeUndefined()
  }
  const states = async (): Promise<unknown[]> => {
    const { intact, problem, heads } = await verdictOf(cp)
    return [intact, problem, ...heads.map(({ node_id, state }) => [node_id, state])]
  }
  const told = [[node.node_id, 'differs'] as const, [other.node_id, 'missing'] as const]
  const byNode = told.toSorted(([a], [b]) => a.localeCompare(b))
  const expected = [false, null, ...byNode]
  expect(await states()).toEqual(expected)
  expect((await mismatchesIn(cp)).map(({ actor }) => actor).sort()).toEqual(
    [`node:${node.node_id}`, `node:${other.node_id}`].sort(),
  )
  expect(cp.complaints.filter((line) => line.includes('The audit log'))).toHaveLength(2)
  const events = await cp.plane()
  const stream = await fetch(`${events.api_url}/api/v1/events?type=audit&after=0`, {
    headers: { authorization: `Bearer ${cp.key}` },
  })
  const reader = stream.body?.getReader()
  let text = ''
  while (!(text.includes('"differs"') && text.includes('"missing"'))) {
    const { value } = (await reader?.read()) ?? { value: undefined }
    text += new TextDecoder().decode(value)
  }
  await reader?.cancel()
  expect(text).toContain('"type":"audit"' satisfies `"type":"${EventMessage['type']}"`)
  await cp.restart()
  expect(await states()).toEqual(expected)
  expect(await cp.must<unknown>('POST', '/audit-log/mismatches/accept', { reason: 'x' })).toEqual({
    accepted: 2,
  })
  expect((await states()).slice(0, 2)).toEqual([true, null])
  expect((await beat(cp, node, differs)).audit_head).toMatchObject({ replaces: true })
})

test('a node that speaks right after the log was rewritten keeps what it has seen', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  const { audit_head: given } = await beat(cp, node)
  if (given === undefined) throw new Error('no head')
  const head = { seq: given.seq, hash: given.hash }
  await beat(cp, node, head)
  const beside = await openDatabase({
    ...{ url: cp.config.database_url, auth_token: null, migrations: MIGRATIONS },
  })
  await beside.run('DROP TRIGGER audit_log_no_update')
  await beside.run('UPDATE audit_log SET hash = ? WHERE seq = ?', ['f'.repeat(64), head.seq])
  await beside.close()
  expect((await beat(cp, node, head)).audit_head).toBeUndefined()
  expect(await mismatchesIn(cp)).toMatchObject([{ actor: `node:${node.node_id}` }])
})

test('a log that the database no longer protects is not intact', async () => {
  await using cp = await testPlane()
  await cp.addFunction('one')
  expect(await verdictOf(cp)).toMatchObject({ intact: true, triggers_changed: [] })
  const beside = await openDatabase({
    ...{ url: cp.config.database_url, auth_token: null, migrations: MIGRATIONS },
  })
  await beside.run('DROP TRIGGER audit_log_no_delete')
  await beside.close()
  expect(await verdictOf(cp)).toMatchObject({
    ...{ intact: false, problem: null, mismatches: 0 },
    triggers_changed: ['audit_log_no_delete'],
  })
})

test('what is stored of nodes may be edited as well: no byte there ends the process, or keeps the log from being judged', async () => {
  await using cp = await testPlane()
  await cp.addFunction('one')
  const beside = await openDatabase({
    ...{ url: cp.config.database_url, auth_token: null, migrations: MIGRATIONS },
  })
  await beside.run(
    "INSERT INTO audit_heads (node_id, seq, hash, at) VALUES (CAST(x'ff' AS TEXT), -3, CAST(x'fe' AS TEXT), 'then')",
  )
  await beside.run(
    "INSERT INTO audit_mismatches (node_id, seq, hash, found_hash, detected_at) VALUES ('n', 7, CAST(x'fd' AS TEXT), 'x', CAST(x'fc' AS TEXT))",
  )
  await beside.close()
  expect(await verdictOf(cp)).toMatchObject({
    ...{ intact: false, problem: null, mismatches: 2 },
    heads: expect.arrayContaining([
      expect.objectContaining({ node_id: '\ufffd', seq: -3, hash: '\ufffd', state: 'missing' }),
      expect.objectContaining({ node_id: 'n', seq: 7, hash: '\ufffd', state: 'differs' }),
    ]),
  })
  await cp.must('POST', '/audit-log/mismatches/accept', { reason: 'a drill' })
})

test('a mismatch that somebody accepted in the database, and no control plane did, stands', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  const { audit_head: given } = await beat(cp, node)
  if (given === undefined) throw new Error('no head')
  const seen = { seq: given.seq, hash: 'd'.repeat(64) }
  const beside = await openDatabase({
    ...{ url: cp.config.database_url, auth_token: null, migrations: MIGRATIONS },
  })
  const forge = (proof: string | null) =>
    beside.run(
      `INSERT OR REPLACE INTO audit_mismatches (node_id, seq, hash, detected_at, accepted_at, accepted_proof)
       VALUES (?, ?, ?, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', ?)`,
      [node.node_id, seen.seq, seen.hash, proof],
    )
  for (const proof of [null, 'accepted', '1.abcdef01.AAAA']) {
    await forge(proof)
    expect((await beat(cp, node, seen)).audit_head).toBeUndefined()
    expect(await verdictOf(cp)).toMatchObject({ intact: false, mismatches: 1 })
  }
  await beside.close()
  const accepted = await cp.must('POST', '/audit-log/mismatches/accept', { reason: 'a drill' })
  expect(accepted).toEqual({ accepted: 1 })
  expect((await beat(cp, node, seen)).audit_head).toMatchObject({ replaces: true })
})

test('a node that invents heads fills neither the log nor the table', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  for (let count = 1; count <= 30; count += 1) {
    await beat(cp, node, { seq: 1000 + count, hash: 'c'.repeat(64) })
  }
  expect(await mismatchesIn(cp)).toHaveLength(10)
  expect((await verdictOf(cp)).mismatches).toBeLessThanOrEqual(11)
})

test('what nodes have seen is known after a restart, apart from what they say since, until they are deleted', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  const { audit_head: given } = await beat(cp, node)
  if (given === undefined) throw new Error('no head')
  const { seq, hash } = given
  await beat(cp, node, { seq, hash })
  expect(await verdictOf(cp)).toMatchObject({ nodes: 1, nodes_stored: 0 })
  await cp.restart()
  const heads = [{ node_id: node.node_id, seq, hash, state: 'matches' }]
  expect(await verdictOf(cp)).toMatchObject({ intact: true, nodes: 1, nodes_stored: 1, heads })
  await beat(cp, node, { seq, hash })
  expect(await verdictOf(cp)).toMatchObject({ nodes: 1, nodes_stored: 0, heads })
  await cp.must('DELETE', `/nodes/${node.node_id}`)
  expect(await verdictOf(cp)).toMatchObject({ nodes: 0, nodes_stored: 0, heads: [] })
  await cp.restart()
  expect(await verdictOf(cp)).toMatchObject({ nodes: 0, heads: [] })
})

test('a stored head that the log does not have is a mismatch before its node has spoken, and can be accepted', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  const { audit_head: given } = await beat(cp, node)
  await beat(cp, node, given === undefined ? given : { seq: given.seq, hash: given.hash })
  await cp.restart()
  const beside = await openDatabase({
    ...{ url: cp.config.database_url, auth_token: null, migrations: MIGRATIONS },
  })
  await beside.run('UPDATE audit_heads SET hash = ?', ['d'.repeat(64)])
  await beside.close()
  const heads = [{ node_id: node.node_id, state: 'differs' }]
  expect(await verdictOf(cp)).toMatchObject({ intact: false, nodes_stored: 1, heads })
  await cp.must('POST', '/audit-log/mismatches/accept', { reason: 'a drill' })
  expect(await verdictOf(cp)).toMatchObject({ intact: true, heads: [{ state: 'accepted' }] })
})

test('heads are stored in one transaction when they change, and only those of nodes that there are', async () => {
  await using cp = await testPlane()
  const nodes = [await cp.addNode('tokyo-1'), await cp.addNode('tokyo-1')]
  const opened = await openDatabase({
    ...{ url: cp.config.database_url, auth_token: null, migrations: MIGRATIONS },
  })
  let transactions = 0
  const write: typeof opened.write = (work) => {
    transactions += 1
    return opened.write(work)
  }
  const log = createLog({ component: 'test', level: 'error', write: () => undefined })
  const seen = new SeenHeads({ db: { ...opened, write }, log })
  const ids = [...nodes.map(({ node_id }) => node_id), nodeIdSchema.parse('nobody')]
  for (const seq of [1, 2, 2]) {
    for (const id of ids) seen.tell(id, { seq, hash: 'e'.repeat(64) }, new Date().toISOString())
  }
  await seen.flush()
  for (const id of ids) {
    seen.tell(id, { seq: 2, hash: 'e'.repeat(64) }, new Date().toISOString())
  }
  await seen.close()
  expect(transactions).toBe(1)
  const rows = await opened.all('SELECT node_id, seq FROM audit_heads ORDER BY node_id')
  expect(rows.map(({ node_id, seq }) => [node_id, seq])).toEqual(
    ids
      .slice(0, 2)
      .map((id) => [id, 2])
      .sort(),
  )
  await opened.close()
})
