/**
 * The compiled files of the node, `{data_dir}/compiled`: made by its own compiler, signed with a key that never leaves it, kept
 * across restarts (DESIGN section 5). A file counts only with its record, which is written last.
 */

import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'

import { z } from 'zod'

import { sha256Schema } from '../../../protocol/ids.ts'
import type { CompiledFile } from '../../compiled.ts'
import type { CompiledName } from '../../compiled-signature.ts'
import { signCompiled, verifyCompiled } from '../../compiled-signature.ts'

const recordSchema = z.discriminatedUnion('made', [
  z.strictObject({
    made: z.literal(true),
    sha256: sha256Schema,
    size_bytes: z.int().min(8),
    signature: z.string(),
  }),
  /** It was tried and cannot be: trying again would end the same way. */
  z.strictObject({ made: z.literal(false), reason: z.string() }),
])

const KEY_FILE = 'key.pem'

export class CompiledStore {
  readonly #dir: string
  readonly #bytesMax: number
  readonly #key: KeyObject
  /** SPKI, DER, base64. */
  readonly publicKey: string

  /**
   * Opens the directory and its key, both made when missing. A full disk must not keep a node from serving: what cannot be
   * made is done without, and compiling then says why it fails. Never throws.
   */
  constructor(dir: string, bytesMax: number) {
    this.#dir = dir
    this.#bytesMax = bytesMax
    try {
      mkdirSync(dir, { recursive: true, mode: 0o700 })
    } catch {
      // Nothing is kept then, and nothing found.
    }
    this.#key = openKey(join(dir, KEY_FILE))
    this.publicKey = createPublicKey(this.#key)
      .export({ format: 'der', type: 'spki' })
      .toString('base64')
    this.#removeFiles((name) => name !== KEY_FILE && !/\.(?:wasm|json)$/.test(name))
  }

  /** A path to compile into; `take` brings the file into the store, and `dropTemporary` is called in any case. */
  temporaryPath(): string {
    return join(this.#dir, `${Bun.randomUUIDv7()}.tmp`)
  }

  /** Removes what a compilation has left: the file itself, and others of its name that the compiler had no time to remove. */
  dropTemporary(temporary: string): void {
    const prefix = basename(temporary, 'tmp')
    this.#removeFiles((name) => name.startsWith(prefix))
  }

  /** The file of that name, whole and signed; null when there is none. One that is damaged is removed. */
  find(name: CompiledName): CompiledFile | null {
    const record = this.#record(name)
    if (record === null || !record.made) return null
    const path = this.#path(name, 'wasm')
    const { sha256, size_bytes, signature } = record
    const file = { path, sha256, size_bytes, signature }
    try {
      const bytes = readFileSync(path)
      if (verifyCompiled(createPublicKey(this.#key), bytes, file, name)) {
        const now = new Date()
        utimesSync(path, now, now)
        return file
      }
    } catch {
      // Missing or unreadable: as good as damaged.
    }
    this.#remove(name)
    return null
  }

  /** Why the file of that name cannot be made; null when nothing is known against it. */
  refusal(name: CompiledName): string | null {
    const record = this.#record(name)
    return record === null || record.made ? null : record.reason
  }

  /** Signs the file at `temporary` and keeps it under its name. */
  take(name: CompiledName, temporary: string): CompiledFile {
    const bytes = readFileSync(temporary)
    const sha256 = sha256Schema.parse(new Bun.CryptoHasher('sha256').update(bytes).digest('hex'))
    const signature = signCompiled(this.#key, name, sha256)
    const path = this.#path(name, 'wasm')
    renameSync(temporary, path)
    this.#write(name, { made: true, sha256, size_bytes: bytes.length, signature })
    this.#makeRoom(path)
    return { path, sha256, size_bytes: bytes.length, signature }
  }

  /** Remembers that the file of that name cannot be made, or cannot be run. */
  refuse(name: CompiledName, reason: string): void {
    rmSync(this.#path(name, 'wasm'), { force: true })
    this.#write(name, { made: false, reason: reason.slice(0, 1000) })
  }

  /** Bytes that the disk has left for compiled files. */
  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.#dir)
    return bavail * bsize
  }

  usage(): { bytes: number; files: number } {
    const files = this.#files()
    return { bytes: files.reduce((sum, { bytes }) => sum + bytes, 0), files: files.length }
  }

  /** Drops what was used longest ago. Workers that have such a file loaded keep it. */
  #makeRoom(keep: string): void {
    const files = this.#files().sort((a, b) => a.usedMs - b.usedMs)
    let bytes = files.reduce((sum, file) => sum + file.bytes, 0)
    for (const file of files) {
      if (bytes <= this.#bytesMax) return
      if (file.path === keep) continue
      rmSync(file.path, { force: true })
      rmSync(file.path.replace(/\.wasm$/, '.json'), { force: true })
      bytes -= file.bytes
    }
  }

  #removeFiles(isLeft: (name: string) => boolean): void {
    for (const name of this.#names().filter(isLeft)) {
      rmSync(join(this.#dir, name), { force: true })
    }
  }

  #names(): string[] {
    try {
      return readdirSync(this.#dir)
    } catch {
      return []
    }
  }

  #files(): { path: string; bytes: number; usedMs: number }[] {
    return this.#names()
      .filter((name) => name.endsWith('.wasm'))
      .map((name) => {
        const path = join(this.#dir, name)
        const { size, mtimeMs } = statSync(path)
        return { path, bytes: size, usedMs: mtimeMs }
      })
  }

  #record(name: CompiledName): z.infer<typeof recordSchema> | null {
    try {
      return recordSchema.parse(JSON.parse(readFileSync(this.#path(name, 'json'), 'utf8')))
    } catch {
      return null
    }
  }

  #write(name: CompiledName, record: z.infer<typeof recordSchema>): void {
    const path = this.#path(name, 'json')
    writeFileSync(`${path}.tmp`, JSON.stringify(record), { flush: true })
    renameSync(`${path}.tmp`, path)
  }

  #remove(name: CompiledName): void {
    for (const kind of ['json', 'wasm'] as const) rmSync(this.#path(name, kind), { force: true })
  }

  #path({ source, level, target }: CompiledName, kind: 'wasm' | 'json'): string {
    const digest = new Bun.CryptoHasher('sha256').update(`${source}\n${level}\n${target}`)
    return join(this.#dir, `${digest.digest('hex')}.${kind}`)
  }
}

/** The node's key. One that cannot be kept is good until the agent ends: then everything is compiled again. */
function openKey(path: string): KeyObject {
  if (existsSync(path)) {
    try {
      return createPrivateKey(readFileSync(path, 'utf8'))
    } catch {
      // Half written: a new key only means that everything is compiled again.
    }
  }
  const { privateKey } = generateKeyPairSync('ed25519')
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' })
  try {
    writeFileSync(`${path}.tmp`, pem, { mode: 0o600, flush: true })
    renameSync(`${path}.tmp`, path)
  } catch {
    // What is half written is removed when the directory is opened again.
  }
  return privateKey
}
