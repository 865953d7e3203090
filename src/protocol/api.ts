/**
 * Bodies of the REST API, `/api/v1`, both ways. The control plane validates with these, `/openapi.json` is generated
 * from them, the CLI and the edge parse answers with them.
 */

import { z } from 'zod'

import { nodeModesShape } from './commands.ts'
import { compatibilitySchema } from './compatibility.ts'
import { httpAllowSchema } from './http-allow-schema.ts'
import {
  deploymentIdSchema,
  functionIdSchema,
  functionNameSchema,
  nodeIdSchema,
  popIdSchema,
  revisionSchema,
  routeIdSchema,
  sha256Schema,
  textSchema,
  timestampSchema,
  uuidSchema,
  versionSchema,
} from './ids.ts'
import { LIMITS } from './limits.ts'
import {
  abiSchema,
  entrypointSchema,
  environmentSchema,
  maxExecutionMsSchema,
  isolationSchema,
  memoryPagesSchema,
  methodSchema,
  pathTypeSchema,
  quotasSchema,
  routeHostSchema,
} from './manifest.ts'
import { mqttPlaceSchema, nodeStatusSchema } from './messages.ts'
import {
  deploymentStatusSchema,
  previousSchema,
  rolloutFields,
  rolloutViewSchema,
  strategySchema,
  targetSelectorSchema,
  targetStateSchema,
  type DeploymentStatus,
  type TargetState,
} from './rollout.ts'
import { secretLinkSchema } from './secrets.ts'
import { popsOrAllSchema } from './selector.ts'
import { splitViewSchema, stickySchema, versionWeightsSchema } from './split.ts'

/** Every error answer, of the control plane and of the edge. */
export const errorBodySchema = z.strictObject({
  error: z.strictObject({
    code: z.string(),
    message: z.string(),
    details: z.record(z.string(), z.unknown()).optional(),
    request_id: z.string(),
    retryable: z.boolean(),
  }),
})
export type ErrorBody = z.infer<typeof errorBodySchema>

// Functions and versions [R1 C7.2 C17 C20]

export const versionStateSchema = z.enum(['pending_upload', 'ready'])

/** One immutable version. `sha256` is of the stored, normalised module; `uploaded_sha256` of the bytes as sent. */
export const versionViewSchema = z.strictObject({
  function_id: functionIdSchema,
  name: functionNameSchema,
  version: versionSchema,
  state: versionStateSchema,
  entrypoint: entrypointSchema,
  memory_pages: memoryPagesSchema,
  max_execution_ms: maxExecutionMsSchema,
  quotas: quotasSchema,
  env: environmentSchema,
  /** By variable; never a value. */
  secrets: z.record(z.string(), secretLinkSchema),
  http_allow: httpAllowSchema,
  isolation: isolationSchema,
  /** Before the upload the one that was asked for, null for none. */
  abi: abiSchema.nullable(),
  sha256: sha256Schema.nullable(),
  uploaded_sha256: sha256Schema.nullable(),
  size_bytes: z.int().nullable(),
  artifact_url: z.string().nullable(),
  message: z.string(),
  forced: z.boolean(),
  /** What the comparison with the version before found; null before the upload. */
  compatibility: compatibilitySchema.nullable(),
  created_at: timestampSchema,
})
export type VersionView = z.infer<typeof versionViewSchema>

/** Answer to a registration: the new version, and where to PUT the module. */
export const registrationViewSchema = z.strictObject({
  id: functionIdSchema,
  name: functionNameSchema,
  version: versionSchema,
  upload_url: z.url(),
  upload_expires_at: timestampSchema,
  /** POST here after the PUT; idempotent. With the directory store the PUT has done it already. */
  complete_url: z.url(),
  version_record: versionViewSchema,
})
export type RegistrationView = z.infer<typeof registrationViewSchema>

export const functionViewSchema = z.strictObject({
  id: functionIdSchema,
  name: functionNameSchema,
  description: z.string(),
  /** Newest version whose module is stored; null before the first upload. */
  latest_version: versionSchema.nullable(),
  created_at: timestampSchema,
  updated_at: timestampSchema,
})
export type FunctionView = z.infer<typeof functionViewSchema>

/** A function that a node says is not well there. */
export const troubleViewSchema = z.strictObject({
  node_id: nodeIdSchema,
  version: versionSchema,
  state: z.string(),
  reason: z.string(),
})
export type TroubleView = z.infer<typeof troubleViewSchema>

/** `GET /functions/:id`: the function and its newest ready version. */
export const functionDetailSchema = functionViewSchema.extend({
  latest: versionViewSchema.nullable(),
  /** Where it is not well, by the newest heartbeats. */
  troubles: z.array(troubleViewSchema),
})
export type FunctionDetail = z.infer<typeof functionDetailSchema>

/** `PUT /functions/:id`: what is not part of a version. */
export const functionUpdateSchema = z
  .strictObject({
    name: functionNameSchema.optional(),
    description: textSchema(1000).optional(),
  })
  .refine((body) => Object.keys(body).length > 0, 'must change something')

export const downloadViewSchema = z.strictObject({
  url: z.url(),
  sha256: sha256Schema,
  size_bytes: z.int(),
  expires_at: timestampSchema,
})

// Routes [R9 C19]

/** `POST /routes`. `function` is an id or a name. An empty `methods` takes every method. */
export const routeCreationSchema = z.strictObject({
  host: z
    .string()
    .transform((host) => host.toLowerCase())
    .pipe(routeHostSchema)
    .default('*'),
  path: z.string().min(1).max(LIMITS.routePathCharsMax),
  path_type: pathTypeSchema.default('prefix'),
  methods: z.array(methodSchema).max(7).default([]),
  function: z.string().min(1).max(63),
  pop_selector: popsOrAllSchema.default(null),
  priority: z.int().min(-1_000_000).max(1_000_000).default(0),
})
export type RouteCreation = z.infer<typeof routeCreationSchema>

/** `PUT /routes/:id`: the fields to change. */
export const routeUpdateSchema = z
  .strictObject({
    host: z
      .string()
      .transform((host) => host.toLowerCase())
      .pipe(routeHostSchema)
      .optional(),
    path: z.string().min(1).max(LIMITS.routePathCharsMax).optional(),
    path_type: pathTypeSchema.optional(),
    methods: z.array(methodSchema).max(7).optional(),
    function: z.string().min(1).max(63).optional(),
    pop_selector: popsOrAllSchema.optional(),
    priority: z.int().min(-1_000_000).max(1_000_000).optional(),
  })
  .refine((body) => Object.keys(body).length > 0, 'must change something')
export type RouteUpdate = z.infer<typeof routeUpdateSchema>

export const routeViewSchema = z.strictObject({
  id: routeIdSchema,
  host: z.string(),
  path: z.string(),
  path_type: pathTypeSchema,
  methods: z.array(methodSchema),
  function_id: functionIdSchema,
  function_name: functionNameSchema,
  pop_selector: z.string().nullable(),
  priority: z.int(),
  revision: revisionSchema,
  /** Nodes that should have the route as it is now, and those of them on which it is live. */
  delivery: z.strictObject({ nodes: z.int(), live: z.int() }),
  created_at: timestampSchema,
  updated_at: timestampSchema,
})
export type RouteView = z.infer<typeof routeViewSchema>

// Deployments [R2 C18]

/** `POST /functions/:id/deploy`. Without `version` the newest ready one; without `target` every node. */
export const deploymentCreationSchema = z.strictObject({
  version: versionSchema.optional(),
  /** Instead of `version`: several, between which every node splits the traffic, and what makes a user that stays with one. */
  versions: versionWeightsSchema.optional(),
  sticky: stickySchema.optional(),
  /** A POP selector: `all`, POP ids separated by commas, globs, exclusions. */
  target: targetSelectorSchema.default('all'),
  ...rolloutFields,
  message: textSchema(1000).default(''),
})
export type DeploymentCreation = z.infer<typeof deploymentCreationSchema>

export { deploymentStatusSchema, targetStateSchema, type DeploymentStatus, type TargetState }

export const deploymentTargetViewSchema = z.strictObject({
  node_id: nodeIdSchema,
  pop_id: popIdSchema,
  state: targetStateSchema,
  /** From 1. */
  step: z.int(),
  /** What a roll-back gives the node again; null: nothing. */
  previous: previousSchema,
  error: z.strictObject({ code: z.string(), message: z.string() }).nullable(),
  updated_at: timestampSchema,
})

export const deploymentViewSchema = z.strictObject({
  id: deploymentIdSchema,
  function_id: functionIdSchema,
  function_name: functionNameSchema,
  /** Of a split the heaviest. */
  version: versionSchema,
  /** Null: `version` has all of the traffic. */
  split: splitViewSchema.nullable(),
  target: z.string(),
  strategy: strategySchema,
  status: deploymentStatusSchema,
  message: z.string(),
  /** Of the newest change that it made. */
  revision: revisionSchema,
  created_by: z.string(),
  created_at: timestampSchema,
  updated_at: timestampSchema,
  rollout: rolloutViewSchema,
  targets: z.array(deploymentTargetViewSchema),
})
export type DeploymentView = z.infer<typeof deploymentViewSchema>

// Nodes [C4 C7.1 R7 R12]

/** `POST /join-tokens` (owner only); the token is shown once. */
export const joinTokenCreationSchema = z.strictObject({
  pop_id: popIdSchema,
  ttl_seconds: z
    .int()
    .min(10)
    .max(LIMITS.joinTokenSecondsMax)
    .default(LIMITS.joinTokenSecondsDefault),
})
export const joinTokenViewSchema = z.strictObject({
  id: uuidSchema,
  token: z.string(),
  pop_id: popIdSchema,
  expires_at: timestampSchema,
  /** The complete command to run on the node. */
  command: z.string(),
})
export type JoinTokenView = z.infer<typeof joinTokenViewSchema>

/** `POST /nodes/register`, authorised by the join token as bearer. */
export const nodeRegistrationSchema = z.strictObject({
  /** Absent: the control plane names the node after its POP. */
  node_id: nodeIdSchema.optional(),
  pop_id: popIdSchema,
  version: textSchema(100),
  os: textSchema(100),
  arch: textSchema(50),
  /** Port the node serves functions on. */
  http_port: z.int().min(0).max(65535),
  /**
   * Random, chosen by the node once and kept until it has its credentials: the same join token with the same nonce is
   * answered again, so that an answer that was lost on its way does not use the token up.
   */
  nonce: z
    .string()
    .regex(/^[\w-]{22,64}$/, 'must be 22 to 64 characters of base64url')
    .optional(),
})
export type NodeRegistration = z.infer<typeof nodeRegistrationSchema>

/** Answer to a registration, and (without a join token) to `POST /nodes/:id/token`, which renews the JWT. */
export const nodeCredentialsSchema = z.strictObject({
  node_id: nodeIdSchema,
  pop_id: popIdSchema,
  /** EdDSA JWT, 30 days. */
  token: z.string(),
  token_expires_at: timestampSchema,
  ...mqttPlaceSchema.shape,
  /** The control plane's Ed25519 public key, base64url of the raw 32 bytes; artifacts are signed with it. */
  signing_key: z.string(),
  heartbeat_seconds: z.number().positive(),
})
export type NodeCredentials = z.infer<typeof nodeCredentialsSchema>

export const nodeViewSchema = z.strictObject({
  id: nodeIdSchema,
  pop_id: popIdSchema,
  ip: z.string(),
  status: nodeStatusSchema,
  last_heartbeat: timestampSchema.nullable(),
  /** Newest change meant for the node, and the newest it has acknowledged. */
  desired_revision: revisionSchema,
  applied_revision: revisionSchema,
  version: z.string(),
  os: z.string(),
  arch: z.string(),
  http_port: z.int(),
  cpu_percent: z.number().nullable(),
  mem_bytes: z.int().nullable(),
  ...nodeModesShape,
  created_at: timestampSchema,
  updated_at: timestampSchema,
})
export type NodeView = z.infer<typeof nodeViewSchema>

export const nodeFunctionViewSchema = z.strictObject({
  function_id: functionIdSchema,
  function_name: functionNameSchema,
  /** The version the node should serve and the one it said it serves. */
  desired_version: versionSchema.nullable(),
  version: versionSchema.nullable(),
  state: z.string(),
  breaker: z.string(),
  /** Why it is not well there, as the node says; null when it is. */
  reason: z.string().nullable(),
  invocation_count: z.int(),
  avg_latency_ms: z.number(),
})
export const nodeDetailSchema = nodeViewSchema.extend({
  functions: z.array(nodeFunctionViewSchema),
})
export type NodeDetail = z.infer<typeof nodeDetailSchema>

// Lists

/** Lists answer `{items, next_cursor}`; pass the cursor back as `?cursor=` for the next page. */
export function pageSchema<T extends z.ZodType>(item: T) {
  return z.strictObject({ items: z.array(item), next_cursor: z.string().nullable() })
}
export const pageQuerySchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(LIMITS.pageRowsMax).default(LIMITS.pageRowsDefault),
  cursor: z.string().max(200).optional(),
})
