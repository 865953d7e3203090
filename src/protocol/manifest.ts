/** What a node must know to serve: the manifest of a function version, and routes. */

import { z } from 'zod'

import { httpAllowSchema } from './http-allow-schema.ts'
import { HTTP_METHODS } from './http-methods.ts'
import {
  deploymentIdSchema,
  functionIdSchema,
  functionNameSchema,
  routeIdSchema,
  sha256Schema,
  textSchema,
  versionSchema,
} from './ids.ts'
import { LIMITS } from './limits.ts'
import { stickySchema, weightSchema } from './split.ts'

/** Exports are found by this name, so it is what a wasm name may be, within reason. */
export const entrypointSchema = z.string().regex(/^[\w.$:/#@-]{1,255}$/, 'must be an export name')

export const memoryPagesSchema = z
  .int('Memory pages must be between 1 and 256')
  .min(LIMITS.memoryPagesMin, 'Memory pages must be between 1 and 256')
  .max(LIMITS.memoryPagesMax, 'Memory pages must be between 1 and 256')

export const maxExecutionMsSchema = z.int().min(LIMITS.executionMsMin).max(LIMITS.executionMsMax)

/** How the host talks to a module (DESIGN section 6). */
export const abiSchema = z.enum(['edgefn', 'wagi', 'wws', 'spin', 'extism'])
export type Abi = z.infer<typeof abiSchema>

/** What one request leaves in an instance that the next one finds there: whatever the guest keeps, or nothing. */
export const isolationSchema = z.enum(['instance', 'request'])
export type Isolation = z.infer<typeof isolationSchema>

/** The highest ceilings that may be set. */
export const QUOTA_MOST = { concurrency: 10_000, rate: 1_000_000, burst: 1_000_000 } as const

/**
 * Per-function ceilings besides memory and execution time; null is no ceiling of its own. Concurrency and rate hold for one
 * node as a whole. Without `burst`, as many requests may come at once as in a second; without `queue_wait_ms`, a call may
 * wait `queueWaitMsMax` for its turn.
 */
export const quotasSchema = z.strictObject({
  concurrency: z.int().min(1).max(QUOTA_MOST.concurrency).nullable().default(null),
  requests_per_second: z.number().positive().max(QUOTA_MOST.rate).nullable().default(null),
  burst: z.int().min(1).max(QUOTA_MOST.burst).nullable().default(null),
  queue_wait_ms: z
    .int()
    .min(LIMITS.queueWaitMsMin)
    .max(LIMITS.queueWaitMsMax)
    .nullable()
    .default(null),
})
export type Quotas = z.infer<typeof quotasSchema>

export const environmentNameSchema = z
  .string()
  .max(LIMITS.variableNameCharsMax)
  .regex(/^[A-Za-z_]\w*$/)

/** Environment given to the guest (`env_get`, WASI environ). */
export const environmentSchema = z
  .record(environmentNameSchema, textSchema(LIMITS.variableValueCharsMax))
  .refine(
    (env) => Object.keys(env).length <= LIMITS.variablesMax,
    `must have at most ${LIMITS.variablesMax} variables`,
  )

/** One version of one function, complete: everything an edge node needs to fetch, verify and run it [R2.2 P3]. */
const versionManifestSchema = z.strictObject({
  function_id: functionIdSchema,
  name: functionNameSchema,
  version: versionSchema,
  deployment_id: deploymentIdSchema,
  abi: abiSchema,
  entrypoint: entrypointSchema,
  memory_pages: memoryPagesSchema,
  max_execution_ms: maxExecutionMsSchema,
  quotas: quotasSchema,
  env: environmentSchema,
  /**
   * More of the environment, whose values are secret: filled in only where the node itself asks over HTTP, empty in notices.
   * Absent in what nodes stored before there were any.
   */
  secrets: environmentSchema.default({}),
  /** Absent in what nodes stored before there was `http_fetch`. */
  http_allow: httpAllowSchema.default([]),
  /** Absent in what nodes stored before it could be chosen. */
  isolation: isolationSchema.default('instance'),
  /** Where the normalised module can be fetched now; expires, so it is renewed with every plan. */
  artifact_url: z.url(),
  sha256: sha256Schema,
  size_bytes: z.int().min(8).max(LIMITS.moduleBytesMax),
  /** Ed25519 by the control plane over `artifactStatement(sha256)`, base64url. */
  signature: z.string().min(1).max(200),
})

/** The versions that share the traffic with the one whose manifest this is in, and the share of that one. */
const splitSchema = z.strictObject({
  sticky: stickySchema,
  weight: weightSchema,
  arms: z
    .array(z.strictObject({ weight: weightSchema, function: versionManifestSchema }))
    .min(1)
    .max(LIMITS.splitVersionsMax - 1),
})

/** What a node serves of a function: one version, or several between which its traffic is split; absent where it is not. */
export const manifestSchema = versionManifestSchema.extend({ split: splitSchema.optional() })
export type Manifest = z.infer<typeof manifestSchema>

/** A manifest and those of the versions that share its traffic, which have no split themselves. */
export function armsOf(manifest: Manifest): Manifest[] {
  return [manifest, ...(manifest.split?.arms ?? []).map((arm) => arm.function)]
}

/** The bytes that the control plane signs for an artifact; a prefix keeps the signature from meaning anything else. */
export function artifactStatement(sha256: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`edgefn-artifact-v1:${sha256}`)
}

export const pathTypeSchema = z.enum(['exact', 'prefix', 'regex'])
export type PathType = z.infer<typeof pathTypeSchema>

export const methodSchema = z.enum(HTTP_METHODS)
export type Method = z.infer<typeof methodSchema>

/** Exact name, `*.example.com` for any name below, or `*` for any host; lower case, no port. */
export const routeHostSchema = z
  .string()
  .max(LIMITS.routeHostCharsMax)
  .regex(
    /^(?:\*|(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*|\[[0-9a-f:.]+\])$/,
    'must be a host name in lower case, *.example.com, or * for any host',
  )

/**
 * One line of a routing table. `path` is what `path_type` says: the whole path; a prefix that ends at a segment border
 * (`/api` takes `/api` and `/api/x`, not `/apix`; `/` takes everything); or a regular expression over the whole path.
 */
export const routeSchema = z.strictObject({
  route_id: routeIdSchema,
  host: routeHostSchema,
  path: z.string().min(1).max(LIMITS.routePathCharsMax),
  path_type: pathTypeSchema,
  /** Empty takes every method. */
  methods: z.array(methodSchema).max(HTTP_METHODS.length),
  priority: z.int().min(-1_000_000).max(1_000_000),
  function_id: functionIdSchema,
})
export type Route = z.infer<typeof routeSchema>
