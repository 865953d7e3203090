/** The bearer strings that the control plane hands out: `efk_<id>_<secret>` for API keys, `efj_…` for join tokens. */

/** `efk` is an API key, `efj` a join token. */
export type TokenKind = 'efk' | 'efj'

/** 256 bits: guessing is hopeless whatever the cost of the hash. */
const secretBytes = 32
const keyIdBytes = 8

const TOKEN = /^(efk|efj)_([0-9a-f-]{16,36})_([A-Za-z0-9_-]{43})$/

export interface Token {
  readonly kind: TokenKind
  /** Public; finds the row. */
  readonly id: string
  readonly secret: string
}

/** A new token: short random id for a key, UUIDv7 for a join token. */
export function newToken(kind: TokenKind): Token {
  const id = kind === 'efk' ? random(keyIdBytes).toString('hex') : Bun.randomUUIDv7()
  return { kind, id, secret: random(secretBytes).toString('base64url') }
}

/** The string the holder gets to see, once. */
export function printToken(token: Token): string {
  return `${token.kind}_${token.id}_${token.secret}`
}

/** The parts of a token, or null when `text` is none. */
export function parseToken(text: string): Token | null {
  const match = TOKEN.exec(text)
  if (match === null) return null
  const [, kind, id = '', secret = ''] = match
  return { kind: kind === 'efk' ? 'efk' : 'efj', id, secret }
}

/** SHA-256 in lower-case hexadecimal. */
export function sha256Hex(text: string): string {
  return new Bun.CryptoHasher('sha256').update(text).digest('hex')
}

function random(bytes: number): Buffer {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(bytes)))
}
