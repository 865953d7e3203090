/** The command line of a schema process: this very program again. */

import { join } from 'node:path'

import type { SqlCommand } from './job.ts'

/** Where a compiled binary finds its own code. */
const COMPILED_ROOT = '/$bunfs/'

export const sqlCommand: SqlCommand = () => {
  const isCompiled = import.meta.dir.startsWith(COMPILED_ROOT)
  const entry = isCompiled ? [] : [join(import.meta.dir, '..', 'main.ts')]
  return [process.execPath, ...entry, '__schemas']
}
