/** Credentials of nodes: join tokens, JWTs, artifact signatures, and who may do what. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { SignJWT, UnsecuredJWT, generateKeyPair } from 'jose'

import { authorize } from '../../../src/cp/auth/authorize.ts'
import type { Caller } from '../../../src/cp/context.ts'
import type { Access } from '../../../src/cp/endpoint.ts'
import { nodeIdSchema, popIdSchema } from '../../../src/protocol/ids.ts'
import { artifactStatement } from '../../../src/protocol/manifest.ts'
import { authStack, codeOf, insertNode, ownerContext } from './stack.ts'

const node = nodeIdSchema.parse('tokyo-1-a')
const pop = popIdSchema.parse('tokyo-1')

test('a join token admits one registration', async () => {
  await using stack = await authStack()
  const { auth, db } = stack
  const join = await db.write((tx) =>
    auth.createJoinToken(tx, ownerContext, { pop_id: pop, ttl_seconds: 60 }),
  )
  expect(await auth.authenticate(join.token)).toEqual({
    kind: 'join_token',
    join_token_id: join.id,
    pop_id: pop,
  })
  const consume = () => codeOf(db.write((tx) => auth.consumeJoinToken(tx, join.id, node, null)))
  const results = await Promise.all([consume(), consume(), consume()])
  expect(results.sort()).toEqual([null, 'unauthenticated', 'unauthenticated'])
  expect(await codeOf(auth.authenticate(join.token))).toBe('unauthenticated')
  const stored = JSON.stringify(await db.all('SELECT * FROM join_tokens'))
  expect(stored).not.toContain(join.token.split('_')[2] ?? '')
})

test('a join token that has expired admits nobody, even when it expires between check and use', async () => {
  await using stack = await authStack()
  const { auth, db } = stack
  const join = await db.write((tx) =>
    auth.createJoinToken(tx, ownerContext, { pop_id: pop, ttl_seconds: 60 }),
  )
  await db.run('UPDATE join_tokens SET expires_at = ?', [new Date().toISOString()])
  expect(await codeOf(auth.authenticate(join.token))).toBe('unauthenticated')
  const use = db.write((tx) => auth.consumeJoinToken(tx, join.id, node, null))
  expect(await codeOf(use)).toBe('unauthenticated')
})

test('a node token is good until a newer one is issued', async () => {
  await using stack = await authStack()
  const { auth } = stack
  const first = await auth.signing.issueNodeToken(node, pop)
  expect(await codeOf(auth.authenticate(first.token))).toBe('unauthenticated')
  await insertNode(stack, node, first.token_hash)
  expect(await auth.authenticate(first.token)).toEqual({ kind: 'node', node_id: node })
  const days = (Date.parse(first.expires_at) - Date.now()) / 86_400_000
  expect(days).toBeCloseTo(30, 2)
  const second = await auth.signing.issueNodeToken(node, pop)
  await insertNode(stack, node, second.token_hash)
  expect(await codeOf(auth.authenticate(first.token))).toBe('unauthenticated')
  expect(await auth.authenticate(second.token)).toEqual({ kind: 'node', node_id: node })
})

test('forged node tokens are refused', async () => {
  await using stack = await authStack()
  const { auth } = stack
  const { token, jti, token_hash } = await auth.signing.issueNodeToken(node, pop)
  await insertNode(stack, node, token_hash)
  const [header = '', payload = '', signature = ''] = token.split('.')
  const claims = () =>
    new SignJWT({ pop })
      .setSubject(node)
      .setJti(jti)
      .setIssuer('edgefn-cp')
      .setAudience('edgefn-node')
      .setExpirationTime('1h')
  const foreign = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  const publicBytes = Buffer.from(auth.signing.publicKey, 'base64url')
  const none = Buffer.from('{"alg":"none"}').toString('base64url')
  const forgeries = [
    await claims().setProtectedHeader({ alg: 'EdDSA' }).sign(foreign.privateKey),
    await claims().setProtectedHeader({ alg: 'HS256' }).sign(publicBytes),
    new UnsecuredJWT({ pop }).setSubject(node).setJti(jti).encode(),
    `${none}.${payload}.`,
    `${none}.${payload}.${signature}`,
    `${header}.${payload}.`,
    `${header}.${payload}`,
    `${header}.${Buffer.from('{}').toString('base64url')}.${signature}`,
    token.toUpperCase(),
  ]
  for (const forged of forgeries) {
    expect(await codeOf(auth.authenticate(forged))).toBe('unauthenticated')
  }
  expect(await codeOf(auth.authenticate(token))).toBeNull()
})

test('artifact signatures verify with the published key', async () => {
  await using stack = await authStack()
  const { signing } = stack.auth
  const raw = Buffer.from(signing.publicKey, 'base64url')
  expect(raw.byteLength).toBe(32)
  const key = await crypto.subtle.importKey('raw', raw, { name: 'Ed25519' }, false, ['verify'])
  const sha256 = 'ab'.repeat(32)
  const signature = Buffer.from(await signing.signArtifact(sha256), 'base64url')
  const holds = (text: string) =>
    crypto.subtle.verify('Ed25519', key, signature, artifactStatement(text))
  expect(await holds(sha256)).toBe(true)
  expect(await holds('cd'.repeat(32))).toBe(false)
})

const user = (role: 'owner' | 'developer' | 'viewer'): Caller => ({
  kind: 'user',
  key_id: 'k',
  name: 'n',
  role,
})
const CALLERS: Record<string, Caller> = {
  owner: user('owner'),
  developer: user('developer'),
  viewer: user('viewer'),
  node: { kind: 'node', node_id: node },
  join_token: { kind: 'join_token', join_token_id: 'j', pop_id: 'tokyo-1' },
}
const ALLOWED: Record<Access, readonly string[]> = {
  viewer: ['owner', 'developer', 'viewer'],
  developer: ['owner', 'developer'],
  owner: ['owner'],
  node: ['node'],
  node_or_viewer: ['owner', 'developer', 'viewer', 'node'],
  join_token: ['join_token'],
}

test('every kind of caller may do exactly what the table says, and a node nothing to another node', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.keys(CALLERS)),
      fc.constantFrom(...(Object.keys(ALLOWED) as Access[])),
      fc.option(fc.constantFrom('tokyo-1-a', 'osaka-1-a', '', 'tokyo-1'), { nil: undefined }),
      (name, access, id) => {
        const caller = CALLERS[name] as Caller
        const params: Record<string, string> = id === undefined ? {} : { id }
        let allowed = true
        try {
          authorize(caller, access, params)
        } catch {
          allowed = false
        }
        const expected = ALLOWED[access].includes(name) && (name !== 'node' || id === 'tokyo-1-a')
        expect(allowed).toBe(expected)
      },
    ),
    { numRuns: 200 },
  )
})
