/** The control plane's Ed25519 key: signs node tokens and artifacts. Made at first start, kept in `DIR/keys/`. */

import { join } from 'node:path'

import type { JWK } from 'jose'
import { SignJWT, errors, exportJWK, generateKeyPair, importJWK, jwtVerify } from 'jose'

import { EdgefnError } from '../../errors.ts'
import type { NodeId, PopId } from '../../protocol/ids.ts'
import { nodeIdSchema } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { artifactStatement } from '../../protocol/manifest.ts'
import {
  previewIsOver,
  previewStatement,
  readPreviewToken,
  type PreviewClaims,
} from '../../protocol/preview.ts'
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
  /** Ed25519 over `previewStatement(claims)`, base64url. */
  signPreview(claims: PreviewClaims): Promise<string>
  /** What a preview token allows now. Throws `forbidden` unless its signature and its time hold. */
  verifyPreview(token: string): Promise<PreviewClaims>
}

/** Node tokens whose signature is remembered, because a fleet shows the same ones every few seconds; a token of each node fits. */
const verifiedMax = 20_000

interface VerifiedToken {
  readonly node_id: NodeId
  readonly jti: string
  readonly expires_ms: number
}

/** Loads the key of a data directory, or makes it. */
export async function createSigning(dataDir: string): Promise<Signing> {
  const text = await readOrCreateSecret(join(dataDir, 'keys', 'signing.jwk'), newKey)
  const jwk = JSON.parse(text) as JWK
  const { d: _private, ...publicJwk } = jwk
  const privateKey = await importKey(jwk)
  const publicKey = await importKey(publicJwk)

  const verified = new Map<string, VerifiedToken>()
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
      const known = verified.get(token)
      if (known !== undefined && known.expires_ms > Date.now()) return known
      verified.delete(token)
      try {
        const { payload } = await jwtVerify(token, publicKey, {
          algorithms: [ALGORITHM],
          issuer: ISSUER,
          audience: AUDIENCE,
          requiredClaims: ['sub', 'jti', 'exp'],
        })
        const claims = {
          node_id: nodeIdSchema.parse(payload.sub),
          jti: String(payload.jti),
          expires_ms: Number(payload.exp) * 1000,
        }
        const [oldest] = verified.keys()
        if (verified.size >= verifiedMax && oldest !== undefined) verified.delete(oldest)
        verified.set(token, claims)
        return claims
      } catch (cause) {
        throw refusalOf(cause)
      }
    },

    signArtifact: (sha256) => signStatement(privateKey, artifactStatement(sha256)),
    signPreview: (claims) => signStatement(privateKey, previewStatement(claims)),

    async verifyPreview(token) {
      const read = readPreviewToken(token)
      if (read === null || !(await isSigned(publicKey, read))) {
        throw new EdgefnError('forbidden', 'The preview token is not valid.')
      }
      if (read.claims.expires * 1000 <= Date.now()) {
        throw new EdgefnError('forbidden', previewIsOver(read.claims.expires, 'control plane'))
      }
      return read.claims
    },
  }
}

/** Only who has shown a genuine token learns that it is too old. */
function refusalOf(cause: unknown): EdgefnError {
  const isOld = cause instanceof errors.JWTExpired
  const expires = isOld ? cause.payload.exp : undefined
  if (expires === undefined) {
    return new EdgefnError('unauthenticated', 'The credential is not valid.', { cause })
  }
  const at = new Date(expires * 1000).toISOString()
  const message = `The token of the node expired at ${at}, and the clock of the control plane says ${new Date().toISOString()}. Is that wrong, the node goes on by itself once the clock is right; else it needs a new join token.`
  return new EdgefnError('unauthenticated', message, { cause })
}

async function signStatement(key: CryptoKey, statement: Uint8Array<ArrayBuffer>): Promise<string> {
  const signature = await crypto.subtle.sign('Ed25519', key, statement)
  return Buffer.from(signature).toString('base64url')
}

function isSigned(
  key: CryptoKey,
  { claims, signature }: { readonly claims: PreviewClaims; readonly signature: string },
): Promise<boolean> {
  const bytes = Buffer.from(signature, 'base64url')
  return crypto.subtle.verify('Ed25519', key, bytes, previewStatement(claims))
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
