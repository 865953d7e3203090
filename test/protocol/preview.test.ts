/** Preview tokens and hosts: what is made is read again, and nothing else is. */

import { expect, test } from 'bun:test'

import fc from 'fast-check'

import {
  previewHost,
  previewStatement,
  previewToken,
  readPreviewLabel,
  readPreviewToken,
  readVersion,
} from '../../src/protocol/preview.ts'
import { functionNameSchema, versionMax } from '../../src/protocol/ids.ts'

const claimsArbitrary = fc.record({
  function_id: fc.uuid({ version: 7 }),
  version: fc.integer({ min: 1, max: versionMax }),
  expires: fc.integer({ min: 1_000_000_000, max: 9_999_999_999 }),
})
const signatureArbitrary = fc
  .uint8Array({ minLength: 64, maxLength: 64 })
  .map((bytes) => Buffer.from(bytes).toString('base64url'))

test('a token says what it was made of, and is a value that fields and cookies carry as it is', () => {
  fc.assert(
    fc.property(claimsArbitrary, signatureArbitrary, (claims, signature) => {
      const token = previewToken(claims, signature)
      expect(readPreviewToken(token)).toEqual({ claims, signature })
      expect(token).toMatch(/^[\w.-]+$/)
      expect(encodeURIComponent(token)).toBe(token)
    }),
    { numRuns: 200 },
  )
})

test('no two claims have one statement, and other text is no token', () => {
  fc.assert(
    fc.property(claimsArbitrary, claimsArbitrary, fc.string(), (one, other, text) => {
      const same = Bun.deepEquals(previewStatement(one), previewStatement(other))
      expect(same).toBe(Bun.deepEquals(one, other))
      expect(readPreviewToken(text)).toBeNull()
    }),
    { numRuns: 200 },
  )
})

test('a preview host is read back to function and version, whatever hyphens the name has', () => {
  const names = fc
    .stringMatching(/^[a-z0-9](?:[a-z0-9-]{0,50}[a-z0-9])?$/)
    .filter((name) => functionNameSchema.safeParse(name).success)
  fc.assert(
    fc.property(names, fc.integer({ min: 1, max: versionMax }), (name, version) => {
      const host = previewHost(name, version, 'preview.test')
      if (host === null) return expect(`v${version}--${name}`.length).toBeGreaterThan(63)
      const label = host.slice(0, -'.preview.test'.length)
      expect(readPreviewLabel(label)).toEqual({ name, version })
    }),
    { numRuns: 200 },
  )
  for (const label of ['hello', 'v0--hello', 'v1-hello', 'v1--', 'v1--a.b', 'v01--a', 'xv1--a']) {
    expect(readPreviewLabel(label)).toBeNull()
  }
  expect(['v42', '42', 'v0', '042', 'newest', '', 'v4.2'].map(readVersion)).toEqual([
    ...[42, 42, null, null, null, null, null],
  ])
})
