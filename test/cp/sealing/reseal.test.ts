/** A new sealing key: what an older one sealed is sealed anew, and works on when the older one is gone. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { expect, test } from 'bun:test'

import { openDatabase } from '../../../src/cp/db/libsql.ts'
import { MIGRATIONS } from '../../../src/cp/db/migrations.ts'
import { startControlPlane } from '../../../src/cp/main.ts'
import type { AuditVerdictView } from '../../../src/protocol/audit.ts'
import type { WebhookCreated } from '../../../src/protocol/webhooks.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { eventually, heartbeatOf, testPlane } from '../api/test-plane.ts'
import { receiver } from '../webhooks/receiver.ts'

test('a webhook is signed with its secret as before, without the key that sealed it first', async () => {
  await using cp = await testPlane()
  await using to = receiver()
  const node = await cp.addNode('tokyo', 'tokyo-1')
  await cp.addFunction('hello')
  const hook = { url: to.url, events: ['deployment.completed'] }
  to.secret = (await cp.must<WebhookCreated>('POST', '/webhooks', hook)).secret
  const path = join(cp.config.data_dir, 'keys', 'sealing.keys')
  const before = await readFile(path, 'utf8')
  const key = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64')
  await writeFile(path, `newer ${key}\n${before}`)
  await cp.restart()
  await writeFile(path, `newer ${key}\n`)
  await cp.restart()
  const { revision } = await cp.deploy('hello')
  await cp.syncNode(node, revision - 1)
  await eventually(() => to.received.length > 0, 'the webhook')
  expect(to.received[0]).toMatchObject({ genuine: true })
  await writeFile(path, before)
  const log = createLog({ component: 'cp', level: 'error', write: () => undefined })
  await cp.plane().close()
  await expect(startControlPlane(cp.config, log)).rejects.toThrow(
    /The secret of webhook .* is sealed with the key newer/,
  )
  await writeFile(path, `newer ${key}\n`)
  await cp.restart()
})

test('what was accepted of the audit log stays so under a new key; what is no seal keeps nobody from starting', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo', 'tokyo-1')
  const seen = { seq: 1000, hash: 'b'.repeat(64) }
  const body = heartbeatOf(node.node_id, { audit_head: seen })
  await cp.must('POST', `/nodes/${node.node_id}/heartbeat`, body, node.token)
  const mismatches = async () => {
    const path = '/audit-log/verification'
    return (await cp.must<AuditVerdictView>('GET', path)).mismatches
  }
  expect(await mismatches()).toBe(1)
  await cp.must('POST', '/audit-log/mismatches/accept', { reason: 'x' })
  const file = join(cp.config.data_dir, 'keys', 'sealing.keys')
  const before = await readFile(file, 'utf8')
  const key = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64')
  await writeFile(file, `newer ${key}\n${before}`)
  await cp.restart()
  await writeFile(file, `newer ${key}\n`)
  await cp.restart()
  expect(await mismatches()).toBe(0)
  const beside = await openDatabase({
    ...{ url: cp.config.database_url, auth_token: null, migrations: MIGRATIONS },
  })
  await beside.run("UPDATE audit_mismatches SET accepted_proof = '1.abcdef01.AAAA'")
  await beside.close()
  await cp.restart()
  expect(await mismatches()).toBe(1)
})
