/**
 * Secrets at rest on a node: in the index they are AES-256-GCM under a key of the node's own, which is in another file. A copy of
 * the index tells nothing, and a node still starts without its control plane.
 */

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { armsOf, type Manifest } from '../../../protocol/manifest.ts'
import type { FunctionEntry } from '../node-state.ts'
import { writePrivately } from '../private-file.ts'
import { isDiskFull } from './blobs.ts'

const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16
const CIPHER = 'aes-256-gcm'

/** Where the key is in a node's data directory. */
export function secretKeyPath(dataDir: string): string {
  return join(dataDir, 'secrets.key')
}

/**
 * The key in a file, made when there is none or when it is damaged: what was sealed does not open then, and the control plane
 * is asked for all of it. A full disk keeps no node from serving: the key is then for this run only.
 */
export function readOrMakeSecretKey(path: string): Uint8Array {
  if (existsSync(path)) {
    const key = Buffer.from(readFileSync(path, 'utf8').trim(), 'base64')
    if (key.byteLength === keyBytes) return key
  }
  const key = randomBytes(keyBytes)
  try {
    writePrivately(path, `${key.toString('base64')}\n`)
  } catch (thrown) {
    if (!isDiskFull(thrown)) throw thrown
  }
  return key
}

/** An entry as it is stored: JSON, in which the secrets of each version are one sealed text. */
export function sealEntry(key: Uint8Array, entry: FunctionEntry): string {
  const { serving, pending } = entry
  if (![serving, pending].some(hasSecrets)) return JSON.stringify(entry)
  return JSON.stringify({
    ...entry,
    serving: serving === null ? null : sealManifest(key, serving),
    pending: pending === null ? null : sealManifest(key, pending),
  })
}

function hasSecrets(manifest: Manifest | null): boolean {
  if (manifest === null) return false
  return armsOf(manifest).some(({ secrets }) => Object.keys(secrets).length > 0)
}

function sealManifest(key: Uint8Array, manifest: Manifest): unknown {
  const { secrets, split } = manifest
  const sealed = Object.keys(secrets).length === 0 ? secrets : seal(key, manifest)
  if (split === undefined) return { ...manifest, secrets: sealed }
  const arms = split.arms.map((arm) => ({ ...arm, function: sealManifest(key, arm.function) }))
  return { ...manifest, secrets: sealed, split: { ...split, arms } }
}

/** A stored entry with its secrets opened in place. Throws when one does not open; what is no entry is left as it is. */
export function openEntry(key: Uint8Array, stored: unknown): unknown {
  if (!isRecord(stored)) return stored
  for (const manifest of [stored['serving'], stored['pending']]) openManifest(key, manifest)
  return stored
}

function openManifest(key: Uint8Array, manifest: unknown): void {
  if (!isRecord(manifest)) return
  const { secrets, split } = manifest
  if (typeof secrets === 'string') manifest['secrets'] = open(key, manifest, secrets)
  if (!isRecord(split) || !Array.isArray(split['arms'])) return
  for (const arm of split['arms'] as unknown[]) {
    if (isRecord(arm)) openManifest(key, arm['function'])
  }
}

function seal(key: Uint8Array, manifest: Manifest): string {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv(CIPHER, key, nonce)
  cipher.setAAD(Buffer.from(bound(manifest.function_id, manifest.version)))
  const text = Buffer.concat([cipher.update(JSON.stringify(manifest.secrets)), cipher.final()])
  return Buffer.concat([nonce, text, cipher.getAuthTag()]).toString('base64')
}

function open(key: Uint8Array, manifest: Record<string, unknown>, sealed: string): unknown {
  const bytes = Buffer.from(sealed, 'base64')
  const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, nonceBytes))
  decipher.setAAD(Buffer.from(bound(manifest['function_id'], manifest['version'])))
  decipher.setAuthTag(bytes.subarray(-tagBytes))
  const text = Buffer.concat([
    decipher.update(bytes.subarray(nonceBytes, -tagBytes)),
    decipher.final(),
  ])
  return JSON.parse(text.toString('utf8')) as unknown
}

/** A text that was moved to another version does not open there. */
function bound(functionId: unknown, version: unknown): string {
  return `edgefn-node-secrets-1\n${String(functionId)}\n${String(version)}`
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
