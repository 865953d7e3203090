/**
 * Values that the database may only hold encrypted: AES-256-GCM with keys that are kept in `DIR/keys/sealing.keys`, never
 * in the database. A sealed text opens only for the purpose it was sealed for.
 */

import { join } from 'node:path'

import { EdgefnError } from '../errors.ts'
import { readOrCreateSecret } from './durable-file.ts'

export interface Sealing {
  /** Id of the key that seals now. */
  readonly key_id: string
  /** Whether there is a key of this id, so that what it sealed opens. */
  has(keyId: string): boolean
  /** Encrypts under the newest key. `purpose` says what and whose the value is: `webhook/<id>`; it is not kept. */
  seal(purpose: string, plaintext: string): Promise<string>
  /** Throws `internal` when the key is not there, and when the text was changed or sealed for another purpose. */
  open(purpose: string, sealed: string): Promise<string>
}

/** Each text has its own; 96 bits, as GCM wants it. */
const nonceBytes = 12
const keyBytes = 32

/** `1.KEY_ID.BASE64URL`, the last of nonce, ciphertext and tag. */
const SEALED = /^1\.([\w-]{1,32})\.([A-Za-z0-9_-]+)$/
/** One key a line, `ID BASE64`; the first one seals, all of them open. */
const KEY_LINE = /^([\w-]{1,32})\s+([A-Za-z0-9+/_-]{43}=?)$/

/** Loads the keys of a data directory, or makes the first. Throws `invalid_config` when a line is no key. */
export async function createSealing(dataDir: string): Promise<Sealing> {
  const text = await readOrCreateSecret(join(dataDir, 'keys', 'sealing.keys'), newKeyLine)
  const keys = new Map<string, CryptoKey>()
  for (const line of text.split('\n')) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const [id, key] = await importLine(line.trim())
    if (keys.has(id)) throw invalid(`has two keys called ${id}`)
    keys.set(id, key)
  }
  const newest = keys.entries().next().value
  if (newest === undefined) throw invalid('has no key')
  const [keyId, sealingKey] = newest

  return {
    key_id: keyId,
    has: (id) => keys.has(id),

    async seal(purpose, plaintext) {
      const nonce = crypto.getRandomValues(new Uint8Array(nonceBytes))
      const encrypted = await crypto.subtle.encrypt(
        { name: 'AES-GCM', iv: nonce, additionalData: bound(keyId, purpose) },
        sealingKey,
        new TextEncoder().encode(plaintext),
      )
      const bytes = Buffer.concat([nonce, new Uint8Array(encrypted)])
      return `1.${keyId}.${bytes.toString('base64url')}`
    },

    async open(purpose, sealed) {
      const id = sealingKeyOf(sealed)
      const key = id === null ? undefined : keys.get(id)
      if (id === null || key === undefined) {
        throw new EdgefnError(
          'internal',
          `A value is sealed with the key ${id ?? '?'}, which keys/sealing.keys does not have.`,
        )
      }
      const bytes = Buffer.from(sealed.slice(sealed.lastIndexOf('.') + 1), 'base64url')
      try {
        const plain = await crypto.subtle.decrypt(
          {
            name: 'AES-GCM',
            iv: bytes.subarray(0, nonceBytes),
            additionalData: bound(id, purpose),
          },
          key,
          bytes.subarray(nonceBytes),
        )
        return new TextDecoder('utf-8', { fatal: true }).decode(plain)
      } catch (cause) {
        throw new EdgefnError(
          'internal',
          `A sealed value (${purpose}) does not open: it was changed, or its key ${id} was.`,
          { cause },
        )
      }
    },
  }
}

/** Id of the key that a text is sealed with; null when it is not a sealed text. */
export function sealingKeyOf(sealed: string): string | null {
  return SEALED.exec(sealed)?.[1] ?? null
}

/** What the tag vouches for beside the text: moved to another row, a value no longer opens. */
function bound(keyId: string, purpose: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`edgefn-sealed-1\n${keyId}\n${purpose}`)
}

async function newKeyLine(): Promise<string> {
  const random = (bytes: number) => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes)))
  return `${random(4).toString('hex')} ${random(keyBytes).toString('base64')}\n`
}

async function importLine(line: string): Promise<readonly [string, CryptoKey]> {
  const [, id = '', text = ''] = KEY_LINE.exec(line) ?? []
  const raw = Buffer.from(text, 'base64')
  if (id === '' || raw.byteLength !== keyBytes) {
    throw invalid('has a line that is not an id and 32 bytes in base64')
  }
  return [
    id,
    await crypto.subtle.importKey('raw', raw, { name: 'AES-GCM' }, false, ['encrypt', 'decrypt']),
  ]
}

function invalid(what: string): EdgefnError {
  return new EdgefnError('invalid_config', `keys/sealing.keys ${what}.`)
}
