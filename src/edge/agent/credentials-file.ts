/** `credentials.json`: who this node is and how it proves it. Readable by its owner only, replaced as a whole. */

import { existsSync, readFileSync } from 'node:fs'

import type { z } from 'zod'

import { EdgefnError } from '../../errors.ts'
import { nodeCredentialsSchema } from '../../protocol/api.ts'
import { readAnswer } from '../../protocol/lenient.ts'
import { timestampSchema } from '../../protocol/ids.ts'
import { writePrivately } from './private-file.ts'

export const storedCredentialsSchema = nodeCredentialsSchema.extend({
  /** When the token was obtained: with its expiry, its whole life. */
  obtained_at: timestampSchema,
})
export type StoredCredentials = z.infer<typeof storedCredentialsSchema>

/** Null when there is no file. Throws `invalid_config` when there is one that cannot be understood. */
export function readCredentials(path: string): StoredCredentials | null {
  if (!existsSync(path)) return null
  try {
    // A newer version may have written it.
    const read = readAnswer(storedCredentialsSchema, JSON.parse(readFileSync(path, 'utf8')))
    if (read.success) return read.data
    throw read.error
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
  writePrivately(path, `${JSON.stringify(credentials, null, 2)}\n`)
}
