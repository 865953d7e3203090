/** API keys and the owner key: shown once, stored as hashes, revoked at once. */

import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'

import { expect, test } from 'bun:test'

import { createApiKeys } from '../../../src/cp/auth/api-keys.ts'
import { createAuth } from '../../../src/cp/auth/auth.ts'
import { createSecretVerifier, hashSecret } from '../../../src/cp/auth/secrets.ts'
import { newToken, parseToken, printToken } from '../../../src/cp/auth/tokens.ts'
import { createAuditStore } from '../../../src/cp/audit/store.ts'
import type { AuthStack } from './stack.ts'
import { authStack, codeOf, ownerContext } from './stack.ts'

const audit = createAuditStore()

function keysOf(stack: AuthStack) {
  return createApiKeys(stack.db, audit.record, { forget: () => undefined })
}

test('a key authenticates as its role until it is revoked', async () => {
  await using stack = await authStack()
  const owner = await stack.auth.ensureOwnerKey()
  const keys = keysOf(stack)
  const { key, id } = await keys.create({ name: 'ci', role: 'developer' }, ownerContext)
  expect(key).toMatch(/^efk_[0-9a-f]{16}_[\w-]{43}$/)
  const caller = { kind: 'user', key_id: id, name: 'ci', role: 'developer' } as const
  expect(await stack.auth.authenticate(key)).toEqual(caller)
  expect(await stack.auth.authenticate(key)).toEqual(caller)
  await keys.revoke(id, ownerContext)
  expect(await codeOf(stack.auth.authenticate(key))).toBe('unauthenticated')
  expect(await codeOf(stack.auth.authenticate(owner.key))).toBeNull()
})

test('only an argon2id hash is stored, and the audit log has no secret', async () => {
  await using stack = await authStack()
  const { key } = await keysOf(stack).create({ name: 'ci', role: 'viewer' }, ownerContext)
  const secret = parseToken(key)?.secret ?? 'none'
  const row = await stack.db.get('SELECT key_hash FROM api_keys')
  expect(String(row?.['key_hash'])).toStartWith('$argon2id$')
  const everything = JSON.stringify([
    await stack.db.all('SELECT * FROM api_keys'),
    await stack.db.all('SELECT * FROM audit_log'),
  ])
  expect(everything).not.toContain(secret)
})

test('a wrong secret, an unknown id and no token at all are refused alike', async () => {
  await using stack = await authStack()
  const { key } = await keysOf(stack).create({ name: 'ci', role: 'viewer' }, ownerContext)
  const other = newToken('efk')
  const id = parseToken(key)?.id ?? ''
  const wrong = [
    printToken({ ...other, id }),
    printToken(other),
    key.slice(0, -1),
    `${key}x`,
    key.replace('efk_', 'efj_'),
    'efk_',
    'a.b.c',
    'x'.repeat(10_000),
    '',
    null,
  ]
  for (const bearer of wrong) {
    expect(await codeOf(stack.auth.authenticate(bearer))).toBe('unauthenticated')
  }
})

test('the last owner key cannot be revoked', async () => {
  await using stack = await authStack()
  const { key } = await stack.auth.ensureOwnerKey()
  const id = parseToken(key)?.id ?? ''
  const keys = keysOf(stack)
  expect(await codeOf(keys.revoke(id, ownerContext))).toBe('conflict')
  await keys.create({ name: 'second', role: 'owner' }, ownerContext)
  expect(await codeOf(keys.revoke(id, ownerContext))).toBeNull()
  expect(await codeOf(keys.revoke(id, ownerContext))).toBe('not_found')
})

test('keys are listed in pages, without their hashes', async () => {
  await using stack = await authStack()
  const keys = keysOf(stack)
  for (const name of ['a', 'b', 'c']) await keys.create({ name, role: 'viewer' }, ownerContext)
  const first = await keys.list({ limit: 2 })
  const second = await keys.list({ limit: 2, cursor: first.next_cursor ?? '' })
  expect([...first.items, ...second.items].map((key) => key.name)).toEqual(['a', 'b', 'c'])
  expect(second.next_cursor).toBeNull()
  expect(Object.keys(first.items[0] ?? {}).sort()).toEqual([
    'created_at',
    'id',
    'name',
    'revoked_at',
    'role',
  ])
})

test('the owner key is made once, kept for its owner only, and found again', async () => {
  await using stack = await authStack()
  const path = join(stack.dir, 'admin-key')
  const first = await stack.auth.ensureOwnerKey()
  expect(first.created).toBe(true)
  expect(readFileSync(path, 'utf8')).toBe(`${first.key}\n`)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(statSync(join(stack.dir, 'keys')).mode & 0o777).toBe(0o700)
  expect(statSync(join(stack.dir, 'keys', 'signing.jwk')).mode & 0o777).toBe(0o600)
  const restarted = await createAuth({ db: stack.db, data_dir: stack.dir, audit: audit.record })
  expect(await restarted.ensureOwnerKey()).toEqual({ key: first.key, created: false })
  expect(restarted.signing.publicKey).toBe(stack.auth.signing.publicKey)
})

test.each(['missing', 'of another database', 'damaged'])(
  'an admin-key file that is %s is replaced by one that works',
  async (what) => {
    await using stack = await authStack()
    const path = join(stack.dir, 'admin-key')
    await stack.auth.ensureOwnerKey()
    if (what === 'missing') await rm(path)
    if (what === 'of another database') writeFileSync(path, printToken(newToken('efk')))
    if (what === 'damaged') writeFileSync(path, 'efk_')
    const again = await stack.auth.ensureOwnerKey()
    expect(again.created).toBe(true)
    expect(await stack.auth.authenticate(again.key)).toMatchObject({ role: 'owner' })
    expect(readFileSync(path, 'utf8')).toBe(`${again.key}\n`)
  },
)

test('a hundred requests with one new key cost one verification; a flood of wrong ones is turned away', async () => {
  const secrets = createSecretVerifier()
  const token = newToken('efk')
  const hash = await hashSecret(token)
  const right = await Promise.all(Array.from({ length: 100 }, () => secrets.verify(token, hash)))
  expect(right.every(Boolean)).toBe(true)
  const flood = Array.from({ length: 200 }, () =>
    codeOf(secrets.verify({ ...newToken('efk'), id: token.id }, hash)),
  )
  const known = secrets.verify(token, hash)
  expect(await known).toBe(true)
  const codes = await Promise.all(flood)
  expect(codes.filter((code) => code === 'overloaded').length).toBe(200 - 66)
})
