/** `credentials.json`: who this node is and how it proves it. Readable by its owner only, replaced as a whole. */

import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'

import type { z } from 'zod'

import { EdgefnError } from '../../errors.ts'
import { nodeCredentialsSchema } from '../../protocol/api.ts'
import { timestampSchema } from '../../protocol/ids.ts'

export const storedCredentialsSchema = nodeCredentialsSchema.extend({
  /** When the token was obtained: with its expiry, its whole life. */
  obtained_at: timestampSchema,
})
export type StoredCredentials = z.infer<typeof storedCredentialsSchema>

/** Null when there is no file. Throws `invalid_config` when there is one that cannot be understood. */
export function readCredentials(path: string): StoredCredentials | null {
  if (!existsSync(path)) return null
  try {
    return storedCredentialsSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (thrown) {
    throw new EdgefnError(
      'invalid_config',
      `${path} is damaged; remove it and enrol the node again with a new join token.`,
      { cause: thrown },
    )
  }
}

/** Writes the file so that after any crash the old or the new one is there, whole. */
export function writeCredentials(path: string, credentials: StoredCredentials): void {
  const temporary = `${path}.tmp`
  rmSync(temporary, { force: true })
  const file = openSync(temporary, 'wx', 0o600)
  try {
    writeSync(file, `${JSON.stringify(credentials, null, 2)}\n`)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
  const directory = openSync(dirname(path), 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}
