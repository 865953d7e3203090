/** The functions slice on a real database and a real artifact directory, over real HTTP. */

import { join } from 'node:path'

import { Hono } from 'hono'
import { z } from 'zod'

import { createArtifactStore } from '../../../src/cp/artifacts/create.ts'
import { mountArtifacts } from '../../../src/cp/artifacts/mount.ts'
import type { ArtifactStore } from '../../../src/cp/artifacts/store.ts'
import { createAuditStore } from '../../../src/cp/audit/store.ts'
import { createSigning } from '../../../src/cp/auth/signing.ts'
import type { RequestContext } from '../../../src/cp/context.ts'
import type { Endpoint } from '../../../src/cp/endpoint.ts'
import type { Functions } from '../../../src/cp/functions/functions.ts'
import { createFunctions } from '../../../src/cp/functions/functions.ts'
import { createFunctionLookup } from '../../../src/cp/functions/lookup.ts'
import { createSealing } from '../../../src/cp/sealing.ts'
import { createSecrets } from '../../../src/cp/secrets/service.ts'
import type { FunctionLookup } from '../../../src/cp/lookup.ts'
import { readJsonBody } from '../../../src/http/body.ts'
import { errorResponse } from '../../../src/http/error-response.ts'
import { validate } from '../../../src/http/validate.ts'
import type { RegistrationView, VersionView } from '../../../src/protocol/api.ts'
import { registrationViewSchema, versionViewSchema } from '../../../src/protocol/api.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { inspectModule } from '../../../src/wasm/check.ts'
import { checkWholeModule } from '../../../src/wasm/validate.ts'
import type { TempDatabase } from '../db/temp-database.ts'
import { tempDatabase } from '../db/temp-database.ts'

const context: RequestContext = {
  caller: { kind: 'user', key_id: 'k1', name: 'test', role: 'owner' },
  request_id: 'request-1',
  ip: '127.0.0.1',
}

export interface Answer {
  readonly status: number
  readonly body: unknown
}

export interface FunctionStack extends TempDatabase {
  readonly functions: Functions
  readonly lookup: FunctionLookup
  readonly store: ArtifactStore
  readonly publicKey: string
  /** What the hooks were called with. */
  readonly hookCalls: string[]
  call(method: string, path: string, body?: unknown): Promise<Answer>
  register(body: unknown): Promise<RegistrationView>
  /** PUTs a module to an upload URL. */
  upload(url: string, bytes: Uint8Array<ArrayBuffer>): Promise<Answer>
  /** Registers and uploads. */
  deploy(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<VersionView>
}

export async function functionStack(): Promise<FunctionStack> {
  const temp = await tempDatabase()
  const app = new Hono()
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: app.fetch })
  const origin = `http://127.0.0.1:${server.port}`
  const public_url = () => origin
  const store = createArtifactStore({
    config: { kind: 'fs', dir: join(temp.dir, 'artifacts') },
    data_dir: temp.dir,
    public_url,
  })
  await store.ensure()
  const signing = await createSigning(temp.dir)
  const hookCalls: string[] = []
  const lookup = createFunctionLookup((sha256) => store.location(sha256))
  const functions = createFunctions({
    db: temp.db,
    audit: createAuditStore().record,
    modules: store,
    checkModule: checkWholeModule,
    inspectModule,
    sign: signing.signArtifact,
    location: (sha256) => store.location(sha256),
    lookup,
    troubles: () => [],
    secrets: createSecrets({
      db: temp.db,
      audit: createAuditStore().record,
      functions: lookup,
      sealing: await createSealing(temp.dir),
    }).links,
    hooks: {
      removed: async (_tx, _context, id) => {
        hookCalls.push(`removed ${id}`)
        return () => undefined
      },
      changed: async (_tx, _context, id) => void hookCalls.push(`changed ${id}`),
    },
    public_url,
  })
  const log = createLog({
    component: 'test',
    level: 'error',
    pretty: false,
    write: () => undefined,
  })
  mountArtifacts(app, { store, uploads: functions.uploads, log })
  for (const endpoint of functions.endpoints) mountEndpoint(app, endpoint)

  async function call(method: string, path: string, body?: unknown): Promise<Answer> {
    const sent = body === undefined ? {} : { body: JSON.stringify(body) }
    const response = await fetch(`${origin}/api/v1${path}`, { method, ...sent })
    return answerOf(response)
  }
  async function register(body: unknown): Promise<RegistrationView> {
    const answer = await call('POST', '/functions', body)
    if (answer.status !== 201) throw new Error(JSON.stringify(answer))
    return registrationViewSchema.parse(answer.body)
  }
  async function upload(url: string, bytes: Uint8Array<ArrayBuffer>): Promise<Answer> {
    return answerOf(await fetch(url, { method: 'PUT', body: bytes }))
  }
  return {
    ...temp,
    functions,
    lookup,
    store,
    publicKey: signing.publicKey,
    hookCalls,
    call,
    register,
    upload,
    async deploy(name, bytes) {
      const { upload_url } = await register({ name })
      const answer = await upload(upload_url, bytes)
      if (answer.status !== 200) throw new Error(JSON.stringify(answer))
      return versionViewSchema.parse(answer.body)
    },
    async [Symbol.asyncDispose]() {
      await server.stop(true)
      await temp[Symbol.asyncDispose]()
    },
  }
}

/** As little of `api.ts` as the slice needs: schemas in, schemas out, errors. */
function mountEndpoint(app: Hono, endpoint: Endpoint): void {
  app.on(endpoint.method, `/api/v1${endpoint.path}`, async (c) => {
    try {
      const none = z.unknown()
      const body = endpoint.body === undefined ? undefined : await readJsonBody(c.req.raw, 1 << 20)
      const result = await endpoint.handle({
        params: validate(endpoint.params ?? none, c.req.param(), 'path'),
        query: validate(endpoint.query ?? none, c.req.query(), 'query'),
        body: validate(endpoint.body ?? none, body, 'body'),
        context,
        header: (name) => c.req.header(name) ?? null,
      })
      if (endpoint.status === 204) return new Response(null, { status: 204 })
      return Response.json((endpoint.response ?? none).parse(result), { status: endpoint.status })
    } catch (error) {
      return errorResponse(error, 'request-1')
    }
  })
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text()
  return { status: response.status, body: text === '' ? null : (JSON.parse(text) as unknown) }
}
