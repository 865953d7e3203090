/** Flags, environment and file into complete values. The only reader of the process environment. */

import { readConfigFile } from './file.ts'
import { optional, variableOf, type Options, type Values } from './option.ts'
import {
  refuseUnknownKeys,
  refuseUnknownVariables,
  resolveOptions,
  type Environment,
  type Flags,
  type KnownOptions,
} from './resolve.ts'
import { text } from './values.ts'

/** The option every command has. */
export const FILE_OPTION = {
  config: optional(text, {
    placeholder: 'FILE',
    help: 'YAML file with any of these options, keys named like the flags',
  }),
} as const satisfies Options

export interface LoadRequest<O extends Options> {
  readonly options: O
  readonly flags: Flags
  readonly known: KnownOptions
  /** Whether keys that belong to other commands are refused in the file. */
  readonly strict: boolean
}

/** The complete values of a command's options: flags > EDGEFN_* variables > file > defaults. Throws `invalid_config`. */
export function loadOptions<O extends Options>(
  request: LoadRequest<O>,
  env: Environment = process.env,
): Values<O> {
  const { options, flags, known, strict } = request
  refuseUnknownVariables(env, known)
  const path = flags.get('config')?.at(-1) ?? (env[variableOf('config')] || null)
  const file = path === null ? null : readConfigFile(path)
  if (file !== null) refuseUnknownKeys(file, options, known, strict)
  return resolveOptions(options, { flags, env, file })
}

/** Keys of an S3 store as the AWS tools find them, when edgefn's own options do not give them. */
export function awsKeys(env: Environment = process.env): {
  readonly access_key_id: string | null
  readonly secret_access_key: string | null
} {
  return {
    access_key_id: env['AWS_ACCESS_KEY_ID'] || null,
    secret_access_key: env['AWS_SECRET_ACCESS_KEY'] || null,
  }
}
