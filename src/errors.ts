/** The one error class of edgefn and the table of its codes: one sentence each, split by whose fault it is. */

type Fault = 'client' | 'guest' | 'system'

interface ErrorKind {
  /** HTTP status the code is answered with; the mapping happens only in `http/error-response.ts`. */
  readonly status: number
  readonly fault: Fault
  /** True when the same request may succeed later without being changed. */
  readonly retryable: boolean
}

const kind = (status: number, fault: Fault, retryable = false): ErrorKind => ({
  status,
  fault,
  retryable,
})

export const ERROR_KINDS = {
  // The caller sent something that cannot be accepted.
  bad_request: kind(400, 'client'), // The request could not be parsed.
  invalid_field: kind(400, 'client'), // A field of the body, query or path is missing, unknown or out of range.
  invalid_config: kind(400, 'client'), // A flag, variable or configuration key is unknown or has a bad value.
  module_invalid: kind(400, 'client'), // The bytes are not a well-formed WASM module.
  module_unsupported: kind(400, 'client'), // A valid module that asks for something edgefn refuses.
  module_missing: kind(409, 'client'), // The version has no uploaded module yet.
  no_edge_nodes: kind(400, 'client'), // No node matches the deployment target.
  unauthenticated: kind(401, 'client'), // No credential, or one that is wrong or expired.
  forbidden: kind(403, 'client'), // A valid credential that may not do this.
  not_found: kind(404, 'client'), // The path names nothing.
  function_not_found: kind(404, 'client'),
  version_not_found: kind(404, 'client'),
  route_not_found: kind(404, 'client'),
  node_not_found: kind(404, 'client'),
  deployment_not_found: kind(404, 'client'),
  webhook_not_found: kind(404, 'client'),
  schema_not_found: kind(404, 'client'),
  schema_failed: kind(409, 'client'), // A node could not apply a schema of the function, whose versions must wait for it.
  schema_refused: kind(400, 'client'), // Its SQL does not run on an empty database after those before it.
  method_not_allowed: kind(405, 'client'),
  conflict: kind(409, 'client'), // The change collides with what is stored.
  version_exists: kind(409, 'client'), // The same function name and version is stored already.
  incompatible_version: kind(409, 'client'), // The version takes away what the one before gave; details name all of it.
  gone: kind(410, 'client'), // A presigned URL that has expired.
  body_too_large: kind(413, 'client'), // The body is over the limit named in the message.
  rate_limited: kind(429, 'client', true), // A quota of the function is used up; details name it.
  client_gone: kind(499, 'client'), // The client left before its call began; nobody reads this answer.

  // The guest misbehaved.
  function_trap: kind(500, 'guest'), // The guest trapped.
  stack_overflow: kind(500, 'guest'), // The guest recursed past its stack.
  memory_limit: kind(500, 'guest'), // The guest needed more memory than memory_pages.
  function_error: kind(500, 'guest'), // The guest reported an error itself (negative result, exit code).
  function_load_failed: kind(500, 'guest'), // The engine refused to load or instantiate the module.
  circuit_open: kind(503, 'guest', true), // Too many calls of the function failed; it is left alone for some seconds.
  function_quarantined: kind(503, 'guest'), // This version ended worker processes and is not run on the node for now.
  invalid_response: kind(502, 'guest'), // The guest's response is malformed or over its limits.
  execution_timeout: kind(504, 'guest'), // max_execution_ms passed.

  // edgefn or something it stands on could not do its part.
  internal: kind(500, 'system'),
  overloaded: kind(503, 'system', true), // No executor became free before the queue limit, or too many calls wait.
  function_unavailable: kind(503, 'system', true), // Routed, but the module cannot be had now.
  node_drained: kind(503, 'system', true), // An operator has drained the node; others serve meanwhile.
  worker_lost: kind(503, 'system', true), // The thread or process that ran the call went away.
  artifact_mismatch: kind(502, 'system'), // Bytes whose digest or signature is not the announced one.
  artifact_store_unavailable: kind(503, 'system', true),
  database_unavailable: kind(503, 'system', true),
  cp_unreachable: kind(503, 'system', true), // The control plane did not answer.
  engine_missing: kind(500, 'system'), // libwasmedge is absent or of an unsupported version.
  shutting_down: kind(503, 'system', true),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERROR_KINDS

export interface ErrorOptions {
  /** Facts for the caller: the field, the limit, what was got. Never secrets. */
  readonly details?: Record<string, unknown>
  readonly cause?: unknown
}

/** An error with a code from the table. `message` is a full sentence meant for the person who caused it. */
export class EdgefnError extends Error {
  override readonly name = 'EdgefnError'
  readonly code: ErrorCode
  readonly details: Record<string, unknown> | undefined

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details
  }

  get status(): number {
    return ERROR_KINDS[this.code].status
  }

  get retryable(): boolean {
    return ERROR_KINDS[this.code].retryable
  }

  get fault(): Fault {
    return ERROR_KINDS[this.code].fault
  }
}

/** Whether `code` is in the table; used where a code arrives from another process. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_KINDS, code)
}

/** Turns anything thrown into an EdgefnError; what is not one of ours becomes `internal` with its cause kept. */
export function toEdgefnError(thrown: unknown): EdgefnError {
  if (thrown instanceof EdgefnError) return thrown
  return new EdgefnError('internal', 'An internal error occurred.', { cause: thrown })
}

/** The message of anything thrown, for logs. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
