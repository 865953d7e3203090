/** Deployments that were recorded before rollouts were. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, test } from 'bun:test'

import { openDatabase } from '../../../../src/cp/db/libsql.ts'
import { MIGRATIONS } from '../../../../src/cp/db/migrations.ts'
import { getDeployment } from '../../../../src/cp/deployments/store.ts'
import { viewOf } from '../../../../src/cp/deployments/view.ts'
import { deploymentViewSchema } from '../../../../src/protocol/api.ts'
import type { DeploymentId } from '../../../../src/protocol/ids.ts'

const uuid = (n: number) => `019aa000-0000-7000-8000-00000000000${n}`
const now = '2026-01-01T00:00:00.000Z'

test('are shown with one step, and as superseded when a newer one took all of their nodes', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'edgefn-upgrade-'))
  const url = `file:${join(dir, 'edgefn.db')}`
  const open = (migrations: typeof MIGRATIONS) =>
    openDatabase({ url, auth_token: null, migrations })
  try {
    const before = await open(MIGRATIONS.filter((migration) => migration.id < 10))
    await before.write(async (tx) => {
      await tx.run(
        `INSERT INTO functions (id, name, description, created_at, updated_at) VALUES (?, 'f', '', ?, ?)`,
        [uuid(1), now, now],
      )
      await tx.run(
        `INSERT INTO versions (function_id, version, state, entrypoint, memory_pages, max_execution_ms, quotas, env, message, created_at)
         VALUES (?, 1, 'pending_upload', 'handle', 1, 100, '{}', '{}', '', ?)`,
        [uuid(1), now],
      )
      await tx.run(
        `INSERT INTO nodes (id, pop_id, ip, status, version, os, arch, http_port, token_hash, created_at, updated_at)
         VALUES ('a', 'tokyo', '', 'online', '', '', '', 0, '', '', '')`,
      )
      for (const [id, state] of [
        [2, 'superseded'],
        [3, 'deployed'],
      ] as const) {
        await tx.run(
          `INSERT INTO deployments (id, function_id, version, target, strategy, status, message, revision, created_by, created_at, updated_at)
           VALUES (?, ?, 1, 'all', 'immediate', 'completed', '', ?, 'key:k', ?, ?)`,
          [uuid(id), uuid(1), id, now, now],
        )
        await tx.run(
          `INSERT INTO deployment_targets (deployment_id, node_id, state, updated_at) VALUES (?, 'a', ?, ?)`,
          [uuid(id), state, now],
        )
      }
    })
    await before.close()
    const db = await open(MIGRATIONS)
    const show = async (id: number) => {
      const row = await getDeployment(db, uuid(id) as DeploymentId)
      if (row === null) throw new Error('The deployment is gone.')
      return deploymentViewSchema.parse(await viewOf(db, row))
    }
    expect(await show(2)).toMatchObject({
      status: 'superseded',
      targets: [{ state: 'superseded' }],
    })
    expect(await show(3)).toMatchObject({
      ...{ status: 'completed', revision: 3 },
      rollout: { phase: 'ended', kind: 'deploy', steps: [{ nodes: 1, state: 'done' }] },
      targets: [{ state: 'deployed', step: 1, previous: null }],
    })
    await db.close()
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
