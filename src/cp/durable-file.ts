/** Files that a crash must leave whole: written beside their place, flushed, renamed into it. */

import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** For secrets and the folders that hold them: nobody but the owner. */
const secretFileMode = 0o600
const secretFolderMode = 0o700

/** Replaces `path` by `content` and returns when a power loss can no longer undo it. */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${Bun.randomUUIDv7()}.tmp`
  try {
    const file = await open(temporary, 'wx', secretFileMode)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(dirname(path))
}

/** Makes renames and removals inside `path` survive a power loss. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** The text of `path`, or null when there is no such file. */
export async function readTextOrNull(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

/** The text of a secret file, made by `create` at first; its folder is readable by the owner only. */
export async function readOrCreateSecret(
  path: string,
  create: () => Promise<string>,
): Promise<string> {
  await mkdir(dirname(path), { recursive: true, mode: secretFolderMode })
  const existing = await readTextOrNull(path)
  if (existing !== null) return existing
  const text = await create()
  await writeDurably(path, text)
  return text
}

/** Whether a file system error says that the path does not exist. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
