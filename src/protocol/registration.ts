/** The body of a registration: what the next version of a function is made of. */

import { z } from 'zod'

import { httpAllowSchema } from './http-allow-schema.ts'
import { functionNameSchema, textSchema, versionSchema } from './ids.ts'
import { LIMITS } from './limits.ts'
import {
  abiSchema,
  entrypointSchema,
  environmentNameSchema,
  environmentSchema,
  isolationSchema,
  maxExecutionMsSchema,
  memoryPagesSchema,
  quotasSchema,
} from './manifest.ts'
import { secretReferenceSchema } from './secrets.ts'

/** `POST /functions`. A name that exists gets a new version; an explicit version that exists is refused with 409. */
export const functionRegistrationSchema = z
  .strictObject({
    name: functionNameSchema,
    version: versionSchema.optional(),
    /** The ABI that the module must speak; null: the one that it is found to. */
    abi: abiSchema.nullable().default(null),
    entrypoint: entrypointSchema.default('handle'),
    memory_pages: memoryPagesSchema.default(LIMITS.memoryPagesDefault),
    max_execution_ms: maxExecutionMsSchema.default(LIMITS.executionMsDefault),
    quotas: quotasSchema
      .refine(({ burst, requests_per_second: rate }) => burst === null || rate !== null, {
        path: ['burst'],
        error: 'must not be given without requests_per_second',
      })
      .prefault({}),
    env: environmentSchema.default({}),
    /** Variables whose values are secrets: `NAME`, pinned to its newest number, or `NAME@3`. */
    secrets: z.record(environmentNameSchema, secretReferenceSchema).default({}),
    /** Hosts that `http_fetch` may reach: `api.example.com`, `*.example.com`, `https://api.example.com:8443`. */
    http_allow: httpAllowSchema.default([]),
    /** `request`: each request sees a clean instance. The other ABIs than edgefn and Extism never do otherwise. */
    isolation: isolationSchema.default('instance'),
    /** Takes the version although it is not compatible with the one before; what is not is still recorded. */
    force: z.boolean().default(false),
    description: textSchema(1000).default(''),
    message: textSchema(1000).default(''),
  })
  .superRefine(({ env, secrets }, issues) => {
    const names = Object.keys(secrets)
    const twice = names.find((name) => Object.hasOwn(env, name))
    if (twice !== undefined) {
      issues.addIssue({
        code: 'custom',
        path: ['secrets', twice],
        message: 'is a variable of env too',
      })
    }
    if (names.length + Object.keys(env).length > LIMITS.variablesMax) {
      const message = `must have at most ${LIMITS.variablesMax} variables together with env`
      issues.addIssue({ code: 'custom', path: ['secrets'], message })
    }
  })
export type FunctionRegistration = z.infer<typeof functionRegistrationSchema>
