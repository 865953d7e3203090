/** The two presigned URLs that the control plane serves itself when modules rest in its own directory. */

import type { Context, Hono } from 'hono'

import { EdgefnError } from '../../errors.ts'
import { readBody } from '../../http/body.ts'
import { errorResponse } from '../../http/error-response.ts'
import { requestIdOf } from '../../http/request-id.ts'
import type { VersionView } from '../../protocol/api.ts'
import { functionIdSchema, sha256Schema, versionSchema } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Log } from '../../telemetry/log.ts'
import { FsArtifactStore, artifactPath, uploadPath } from './fs/store.ts'
import type { ArtifactStore, UploadKey } from './store.ts'

/** Given by the functions slice. */
export interface UploadReceiver {
  /** Throws unless the version waits for its module; asked before a body is read. */
  expectUpload(key: UploadKey): Promise<void>
  /** Checks and keeps what was staged. */
  completeUpload(key: UploadKey, request: { request_id: string }): Promise<VersionView>
}

export interface MountOptions {
  readonly store: ArtifactStore
  readonly uploads: UploadReceiver
  readonly log: Log
}

/** Adds `GET /artifacts/:sha256` and `PUT /uploads/:function_id/:version`; nothing for a store that serves its own URLs. */
export function mountArtifacts(app: Hono, { store, uploads, log }: MountOptions): void {
  if (!(store instanceof FsArtifactStore)) return

  app.get('/artifacts/:sha256', (context) =>
    answer(context, log, async function download() {
      const sha256 = parsed(sha256Schema.safeParse(context.req.param('sha256')))
      store.urls.verify('GET', artifactPath(sha256), queryOf(context))
      const head = await store.head(sha256)
      const body = head === null ? null : await store.open(sha256)
      if (head === null || body === null) throw notFound()
      return new Response(body, {
        headers: {
          'content-type': 'application/wasm',
          'content-length': `${head.size_bytes}`,
          etag: `"${sha256}"`,
          'cache-control': 'private, immutable',
        },
      })
    }),
  )

  app.put('/uploads/:function_id/:version', (context) =>
    answer(context, log, async function upload(requestId) {
      const key = {
        function_id: parsed(functionIdSchema.safeParse(context.req.param('function_id'))),
        version: parsed(versionSchema.safeParse(Number(context.req.param('version')))),
      }
      store.urls.verify('PUT', uploadPath(key), queryOf(context))
      await uploads.expectUpload(key)
      const bytes = await readBody(context.req.raw, LIMITS.moduleBytesMax)
      await store.stageUpload(key, bytes)
      const version = await complete(store, uploads, key, bytes, requestId)
      return Response.json(version, { headers: { 'x-request-id': requestId } })
    }),
  )
}

/** What is staged goes unless the same completion may succeed later. */
async function complete(
  store: FsArtifactStore,
  uploads: UploadReceiver,
  key: UploadKey,
  bytes: Uint8Array,
  requestId: string,
): Promise<VersionView> {
  try {
    const version = await uploads.completeUpload(key, { request_id: requestId })
    const digest = new Bun.CryptoHasher('sha256').update(bytes).digest('hex')
    if (version.uploaded_sha256 === digest) return version
    throw new EdgefnError('conflict', 'Another upload of the same version was completed first.')
  } catch (error) {
    if (error instanceof EdgefnError && !error.retryable) await store.deleteUpload(key)
    throw error
  }
}

/** Answers errors where they are known, so that the mount needs nothing of the app around it. */
async function answer(
  context: Context,
  log: Log,
  handle: (requestId: string) => Promise<Response>,
): Promise<Response> {
  const requestId = requestIdOf(context.req.header('x-request-id'))
  try {
    return await handle(requestId)
  } catch (thrown) {
    const ours = thrown instanceof EdgefnError
    if (!ours || thrown.fault === 'system') {
      const path = context.req.path
      log.failure('A presigned URL could not be served.', thrown, {
        request_id: requestId,
        context: { path },
      })
    }
    return errorResponse(thrown, requestId)
  }
}

function queryOf(context: Context): URLSearchParams {
  return new URL(context.req.url).searchParams
}

function parsed<T>(result: { success: true; data: T } | { success: false }): T {
  if (result.success) return result.data
  throw notFound()
}

function notFound(): EdgefnError {
  return new EdgefnError('not_found', 'There is nothing at this path.')
}
