/** Artifact files: written beside their place, verified while written, synced, then renamed; so a name means whole bytes [P4]. */

import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

import { EdgefnError } from '../../../errors.ts'

export interface BlobDigest {
  readonly sha256: string
  readonly size_bytes: number
}

/**
 * Writes `body` to `path` if and only if it has the announced size and digest; else throws `artifact_mismatch` and
 * leaves nothing. `makeRoom` is asked for space when the disk is full; when it has none to give (false), ENOSPC is thrown.
 */
export async function writeBlob(
  path: string,
  expected: BlobDigest,
  body: AsyncIterable<Uint8Array>,
  makeRoom: () => boolean,
): Promise<void> {
  const dir = dirname(path)
  // One synchronous step, so that the removal of an emptied directory cannot come between.
  const created = mkdirSync(dir, { recursive: true }) !== undefined
  const temporary = `${path}.${crypto.randomUUID()}.tmp`
  const file = openSync(temporary, 'wx', 0o600)
  let open = true
  try {
    await writeVerified(file, expected, body, makeRoom)
    fsyncSync(file)
    closeSync(file)
    open = false
    renameSync(temporary, path)
    syncDirectory(dir)
    if (created) syncDirectory(dirname(dir))
  } catch (thrown) {
    if (open) closeSync(file)
    rmSync(temporary, { force: true })
    removeIfEmpty(dir)
    throw thrown
  }
}

async function writeVerified(
  file: number,
  expected: BlobDigest,
  body: AsyncIterable<Uint8Array>,
  makeRoom: () => boolean,
): Promise<void> {
  const hasher = new Bun.CryptoHasher('sha256')
  let size = 0
  for await (const chunk of body) {
    size += chunk.byteLength
    if (size > expected.size_bytes) break
    hasher.update(chunk)
    writeWhole(file, chunk, makeRoom)
  }
  const sha256 = hasher.digest('hex')
  if (size === expected.size_bytes && sha256 === expected.sha256) return
  throw new EdgefnError(
    'artifact_mismatch',
    `The artifact is not the announced one: expected SHA-256 ${expected.sha256} and ${expected.size_bytes} bytes, ` +
      (size > expected.size_bytes ? 'got more bytes.' : `got ${sha256} and ${size} bytes.`),
  )
}

function writeWhole(file: number, chunk: Uint8Array, makeRoom: () => boolean): void {
  let offset = 0
  while (offset < chunk.byteLength) {
    try {
      offset += writeSync(file, chunk, offset)
    } catch (thrown) {
      if (!isDiskFull(thrown) || !makeRoom()) throw thrown
    }
  }
}

export function isDiskFull(thrown: unknown): boolean {
  const code = (thrown as { code?: unknown } | null)?.code
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'SQLITE_FULL'
}

/** SHA-256 of a file in hexadecimal, read in pieces; null when it cannot be read. */
export async function digestOfFile(path: string): Promise<string | null> {
  const hasher = new Bun.CryptoHasher('sha256')
  try {
    for await (const chunk of Bun.file(path).stream()) hasher.update(chunk)
    return hasher.digest('hex')
  } catch {
    return null
  }
}

/** Removes a blob, and its directory when that was the last. */
export function removeBlob(path: string): void {
  rmSync(path, { force: true })
  removeIfEmpty(dirname(path))
}

function removeIfEmpty(dir: string): void {
  try {
    rmdirSync(dir)
  } catch {
    // Other versions are still there.
  }
}

export function sizeOfFile(path: string): number | null {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat?.isFile() === true ? stat.size : null
}

/** Removes everything below `root` that `known` does not name: temporary files, leftovers of a crash. Returns how many. */
export function sweepBlobs(root: string, known: ReadonlySet<string>): number {
  let removed = 0
  for (const directory of readdirSync(root, { withFileTypes: true })) {
    const path = join(root, directory.name)
    const names = directory.isDirectory() ? readdirSync(path) : []
    const unknown = names.filter((name) => !known.has(join(path, name)))
    for (const name of unknown) rmSync(join(path, name), { recursive: true, force: true })
    removed += unknown.length
    if (unknown.length === names.length) rmSync(path, { recursive: true, force: true })
  }
  return removed
}

function syncDirectory(path: string): void {
  const directory = openSync(path, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}
