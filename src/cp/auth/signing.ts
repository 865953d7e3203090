/** The control plane's Ed25519 key: signs node tokens and artifacts. Made at first start, kept in `DIR/keys/`. */

import { join } from 'node:path'

import type { JWK } from 'jose'
import { SignJWT, exportJWK, generateKeyPair, importJWK, jwtVerify } from 'jose'

import { EdgefnError } from '../../errors.ts'
import type { NodeId, PopId } from '../../protocol/ids.ts'
import { nodeIdSchema } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { artifactStatement } from '../../protocol/manifest.ts'
import { readOrCreateSecret } from '../durable-file.ts'
import { sha256Hex } from './tokens.ts'

const ALGORITHM = 'EdDSA'
const ISSUER = 'edgefn-cp'
const AUDIENCE = 'edgefn-node'

export interface NodeToken {
  readonly token: string
  readonly jti: string
  /** For `nodes.token_hash` or `next_token_hash`: the token is accepted only while this is the node's. */
  readonly token_hash: string
  readonly expires_at: string
}

export interface Signing {
  /** The public key, base64url of the raw 32 bytes. */
  readonly publicKey: string
  /** A JWT for 30 days [R12.3]. */
  issueNodeToken(nodeId: NodeId, popId: PopId): Promise<NodeToken>
  /** Whose token it is. Throws `unauthenticated` unless signature, issuer, audience and expiry hold. */
  verifyNodeToken(token: string): Promise<{ readonly node_id: NodeId; readonly jti: string }>
  /** Ed25519 over `artifactStatement(sha256)`, base64url. */
  signArtifact(sha256: string): Promise<string>
}

/** Loads the key of a data directory, or makes it. */
export async function createSigning(dataDir: string): Promise<Signing> {
  const text = await readOrCreateSecret(join(dataDir, 'keys', 'signing.jwk'), newKey)
  const jwk = JSON.parse(text) as JWK
  const { d: _private, ...publicJwk } = jwk
  const privateKey = await importKey(jwk)
  const publicKey = await importKey(publicJwk)

  return {
    publicKey: jwk.x ?? '',

    async issueNodeToken(nodeId, popId) {
      const jti = Bun.randomUUIDv7()
      const expires = Math.floor(Date.now() / 1000) + LIMITS.nodeTokenSecondsMax
      const token = await new SignJWT({ pop: popId })
        .setProtectedHeader({ alg: ALGORITHM, typ: 'JWT' })
        .setSubject(nodeId)
        .setJti(jti)
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setIssuedAt()
        .setExpirationTime(expires)
        .sign(privateKey)
      const expiresAt = new Date(expires * 1000).toISOString()
      return { token, jti, token_hash: sha256Hex(jti), expires_at: expiresAt }
    },

    async verifyNodeToken(token) {
      try {
        const { payload } = await jwtVerify(token, publicKey, {
          algorithms: [ALGORITHM],
          issuer: ISSUER,
          audience: AUDIENCE,
          requiredClaims: ['sub', 'jti', 'exp'],
        })
        return { node_id: nodeIdSchema.parse(payload.sub), jti: String(payload.jti) }
      } catch (cause) {
        throw new EdgefnError('unauthenticated', 'The node token is not valid.', { cause })
      }
    },

    async signArtifact(sha256) {
      const signature = await crypto.subtle.sign('Ed25519', privateKey, artifactStatement(sha256))
      return Buffer.from(signature).toString('base64url')
    },
  }
}

async function newKey(): Promise<string> {
  const pair = await generateKeyPair(ALGORITHM, { crv: 'Ed25519', extractable: true })
  return `${JSON.stringify(await exportJWK(pair.privateKey))}\n`
}

async function importKey(jwk: JWK): Promise<CryptoKey> {
  const key = await importJWK(jwk, ALGORITHM)
  if (key instanceof Uint8Array || jwk.crv !== 'Ed25519' || jwk.x === undefined) {
    throw new EdgefnError('invalid_config', 'keys/signing.jwk is not an Ed25519 private key.')
  }
  return key
}
