/** From the options of a client command to a client of the API. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Values } from '../config/option.ts'
import { EdgefnError } from '../errors.ts'
import { createApiClient, type ApiClient } from './api-client.ts'
import type { CLIENT_OPTIONS } from './client-options.ts'

type Connection = Pick<Values<typeof CLIENT_OPTIONS>, 'cp' | 'api-key' | 'data-dir'>

/** A client with the key that was given, or with the one in the control plane's data directory. Throws `invalid_config`. */
export function connect(values: Connection): ApiClient {
  return createApiClient(values.cp, values['api-key'] ?? storedKey(values['data-dir']))
}

function storedKey(dataDir: string): string {
  const file = join(dataDir, 'admin-key')
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
    throw new EdgefnError(
      'invalid_config',
      `No API key: give --api-key or EDGEFN_API_KEY, or --data-dir or EDGEFN_DATA_DIR of the control plane (${file}: ${reason}).`,
    )
  }
}
