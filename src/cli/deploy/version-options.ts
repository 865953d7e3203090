/** What a version is made of, as flags of the commands that upload one. */

import {
  defaulted,
  optional,
  repeated,
  required,
  toggle,
  type Values,
} from '../../config/option.ts'
import { choice, integer, matching, text } from '../../config/values.ts'
import { EdgefnError } from '../../errors.ts'
import { httpAllowPatternSchema } from '../../protocol/http-allow-schema.ts'
import { functionNameSchema } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import {
  abiSchema,
  entrypointSchema,
  environmentNameSchema,
  environmentSchema,
  isolationSchema,
} from '../../protocol/manifest.ts'
import { secretReferenceSchema } from '../../protocol/secrets.ts'
import { QUOTA_OPTIONS, quotasOf } from './quota-options.ts'
import type { VersionFields } from './upload-module.ts'

/** What `http_fetch` of a version may reach. */
export const ALLOW_HTTP_OPTION = {
  'allow-http': repeated(matching(httpAllowPatternSchema), {
    placeholder: 'HOST',
    help: 'a host that http_fetch may reach, such as api.example.com or *.example.com; default: none',
  }),
} as const

export const ISOLATION_OPTION = {
  isolation: defaulted(choice(...isolationSchema.options), 'instance', {
    placeholder: 'WHAT',
    help: 'request: each request sees a clean instance; instance: one is kept, with what requests leave in it (edgefn, Extism)',
  }),
} as const

export const ABI_OPTION = {
  abi: optional(choice(...abiSchema.options), {
    placeholder: 'ABI',
    help: `${abiSchema.options.join(', ')}; default: the one that the module is found to speak`,
  }),
} as const

export const VERSION_OPTIONS = {
  name: required(matching(functionNameSchema), {
    placeholder: 'NAME',
    help: 'the function; a name that exists gets a new version',
  }),
  'memory-pages': optional(integer(LIMITS.memoryPagesMin, LIMITS.memoryPagesMax), {
    placeholder: 'N',
    help: `64 KiB each; default: ${LIMITS.memoryPagesDefault}, or twice what the module starts with if that is more, ${LIMITS.memoryPagesMax} for Go; no less than the version before`,
  }),
  'max-execution-ms': optional(integer(LIMITS.executionMsMin, LIMITS.executionMsMax), {
    placeholder: 'N',
    help: `how long one call may run; default: ${LIMITS.executionMsDefault}`,
  }),
  ...QUOTA_OPTIONS,
  ...ABI_OPTION,
  entrypoint: defaulted(matching(entrypointSchema), 'handle', {
    placeholder: 'EXPORT',
    help: 'exported function that answers (edgefn, Extism; a WAGI command other than _start)',
  }),
  env: repeated(variable, {
    placeholder: 'NAME=VALUE',
    help: 'environment of the function; in EDGEFN_ENV one per line',
    separator: '\n',
    // The value of a variable may be a password.
    secret: true,
  }),
  secret: repeated(secretReference, {
    placeholder: 'NAME=SECRET',
    help: 'a variable whose value is a secret: its newest number, or SECRET@3',
  }),
  ...ALLOW_HTTP_OPTION,
  ...ISOLATION_OPTION,
  message: optional(text, { placeholder: 'TEXT', help: 'what changed' }),
  force: toggle('take the version although it is not compatible with the one before'),
} as const

/** Throws `invalid_config` for a name that is given twice: which of the two is meant cannot be known. */
function eachOnce(
  option: 'env' | 'secret',
  pairs: readonly (readonly [string, string])[],
): Record<string, string> {
  const seen = new Set<string>()
  for (const [name] of pairs) {
    if (seen.has(name))
      throw new EdgefnError('invalid_config', `--${option}: ${name} is given twice.`)
    seen.add(name)
  }
  return Object.fromEntries(pairs)
}

/** The fields of the version that the flags and the file ask for. */
export function versionFieldsOf(
  file: string,
  values: Values<typeof VERSION_OPTIONS>,
): VersionFields {
  return {
    file,
    name: values.name,
    abi: values.abi,
    entrypoint: values.entrypoint,
    memory_pages: values['memory-pages'],
    max_execution_ms: values['max-execution-ms'],
    quotas: quotasOf(values),
    env: eachOnce('env', values.env),
    secrets: eachOnce('secret', values.secret),
    http_allow: values['allow-http'],
    isolation: values.isolation,
    message: values.message ?? '',
    force: values.force,
  }
}

function secretReference(value: string): readonly [string, string] {
  const equals = value.indexOf('=')
  const [name, reference] = [value.slice(0, Math.max(equals, 0)), value.slice(equals + 1)]
  const isName = environmentNameSchema.safeParse(name).success
  if (isName && secretReferenceSchema.safeParse(reference).success) return [name, reference]
  throw new Error('must be NAME=SECRET or NAME=SECRET@NUMBER, the name that of a variable')
}

function variable(value: string): readonly [string, string] {
  const equals = value.indexOf('=')
  const name = value.slice(0, Math.max(equals, 0))
  const content = value.slice(equals + 1)
  if (!environmentSchema.safeParse({ [name]: content }).success) {
    const shown = JSON.stringify((equals < 0 ? value : name).slice(0, 128))
    throw new Error(
      `must be NAME=VALUE, the name of letters, digits and _, the value of at most ${LIMITS.variableValueCharsMax} characters; ${shown} is not`,
    )
  }
  return [name, content]
}
