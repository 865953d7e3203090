/** Preview tokens and what they are good for, against a whole control plane. */

import { expect, test } from 'bun:test'

import type { Manifest } from '../../../src/protocol/manifest.ts'
import { NO_DEPLOYMENT, type PreviewView } from '../../../src/protocol/preview.ts'
import type { Plan } from '../../../src/protocol/plan.ts'
import { testPlane, type ErrorAnswer } from '../api/test-plane.ts'

interface AuditRow {
  readonly operation: string
  readonly resource_id: string
  readonly new_value: unknown
}

test('a token for a version is made, audited without it, and gives any node that version’s manifest and no other', async () => {
  await using cp = await testPlane({ preview_domain: 'preview.test' })
  const made = await cp.addFunction('hello', { env: { WHICH: 'one' } })
  await cp.addFunction('hello', { env: { WHICH: 'two' } })
  const node = await cp.addNode('tokyo-1')
  const path = '/functions/hello/versions/2/preview'
  const view = await cp.must<PreviewView>('POST', path, { ttl_seconds: 600 })
  expect(view).toMatchObject({ function_id: made.id, version: 2, host: 'v2--hello.preview.test' })
  expect(Date.parse(view.expires_at) - Date.now()).toBeWithin(590_000, 601_000)
  const manifest = await cp.must<Manifest>(
    ...(['POST', `/nodes/${node.node_id}/previews`, { token: view.token }, node.token] as const),
  )
  expect(manifest).toMatchObject({
    version: 2,
    env: { WHICH: 'two' },
    deployment_id: NO_DEPLOYMENT,
  })
  const audit = await cp.must<{ items: AuditRow[] }>('GET', '/audit-log?resource_type=version')
  const [row] = audit.items
  expect(row).toMatchObject({ operation: 'preview', resource_id: `${made.id}/2` })
  expect(JSON.stringify(audit)).not.toContain(view.token)
  // The node has nothing to serve: it knows the domain all the same.
  const plan = await cp.must<Plan>('GET', `/nodes/${node.node_id}/sync`, undefined, node.token)
  expect([plan.actions, plan.preview_domain]).toEqual([[], 'preview.test'])
})

test('who may not, and what is not there, is refused', async () => {
  await using cp = await testPlane()
  await cp.addFunction('hello')
  await cp.must('POST', '/functions', { name: 'hello' })
  const node = await cp.addNode('tokyo-1')
  const code = async (path: string, body: unknown, bearer: string | null = cp.key) => {
    const answer = await cp.call<ErrorAnswer>('POST', path, body, bearer)
    return `${answer.status} ${answer.body.error.code}`
  }
  const make = (version: number) => `/functions/hello/versions/${version}/preview`
  expect(await code(make(9), {})).toBe('404 version_not_found')
  expect(await code(make(2), {})).toBe('409 module_missing')
  expect(await code('/functions/none/versions/1/preview', {})).toBe('404 function_not_found')
  expect(await code(make(1), { ttl_seconds: 1 })).toBe('400 invalid_field')
  expect(await code(make(1), { ttl_seconds: 8 * 24 * 3600 })).toBe('400 invalid_field')
  expect(await code(make(1), {}, node.token)).toBe('403 forbidden')
  expect(await code(make(1), {}, null)).toBe('401 unauthenticated')
  const { token, host } = await cp.must<PreviewView>('POST', make(1), {})
  expect(host).toBeNull()
  const ask = `/nodes/${node.node_id}/previews`
  expect(await code(ask, { token })).toBe('403 forbidden')
  expect(await code(ask, { token: 'epv_x' }, node.token)).toBe('403 forbidden')
  expect(await code(ask, { token: token.replace('.1.', '.2.') }, node.token)).toBe('403 forbidden')
  await cp.must('DELETE', '/functions/hello')
  expect(await code(ask, { token }, node.token)).toMatch(/^404 /)
})
