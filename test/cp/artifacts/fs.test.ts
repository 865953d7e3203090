/** The directory store, and the URLs that the control plane serves for it. */

import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { Hono } from 'hono'

import { createArtifactStore } from '../../../src/cp/artifacts/create.ts'
import { createSignedUrls, newUrlKey } from '../../../src/cp/artifacts/fs/signed-url.ts'
import { mountArtifacts } from '../../../src/cp/artifacts/mount.ts'
import type { UploadReceiver } from '../../../src/cp/artifacts/mount.ts'
import { EdgefnError } from '../../../src/errors.ts'
import type { VersionView } from '../../../src/protocol/api.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { tempFolder } from '../db/temp-database.ts'
import type { StoreUnderTest } from './conformance.ts'
import { artifactStoreConformance, digestOf } from './conformance.ts'

const log = createLog({ component: 'test', level: 'error', pretty: false, write: () => undefined })
const key = { function_id: '01890000-0000-7000-8000-000000000001', version: 1 }

/** Leaves what is uploaded where it is, so that the store's own part shows. */
function receiver(takes: (bytes: Uint8Array | null) => void = () => undefined) {
  return (store: StoreUnderTest['store']): UploadReceiver => ({
    expectUpload: async () => undefined,
    async completeUpload(uploaded) {
      const bytes = await store.takeUpload(uploaded)
      takes(bytes)
      return { uploaded_sha256: digestOf(bytes ?? new Uint8Array()) } as VersionView
    },
  })
}

interface Served extends StoreUnderTest {
  readonly dir: string
  readonly origin: string
}

async function serve(receive = receiver()): Promise<Served> {
  const folder = await tempFolder()
  const dir = join(folder.path, 'artifacts')
  const app = new Hono()
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: app.fetch })
  const origin = `http://127.0.0.1:${server.port}`
  const again = () =>
    createArtifactStore({
      config: { kind: 'fs', dir },
      data_dir: folder.path,
      public_url: () => origin,
    })
  const store = again()
  await store.ensure()
  mountArtifacts(app, { store, uploads: receive(store), log })
  return {
    dir,
    origin,
    store,
    again,
    async [Symbol.asyncDispose]() {
      await server.stop(true)
      await folder[Symbol.asyncDispose]()
    },
  }
}

artifactStoreConformance('fs', serve)

async function errorOf(response: Response): Promise<[number, string]> {
  const body = (await response.json()) as { error: { code: string } }
  return [response.status, body.error.code]
}

test('a download says its length and its digest, and HEAD says the same', async () => {
  await using served = await serve()
  const bytes = crypto.getRandomValues(new Uint8Array(50_000))
  const sha256 = digestOf(bytes)
  await served.store.put(sha256, bytes)
  const { url } = await served.store.presignDownload(sha256, 60)
  for (const method of ['GET', 'HEAD']) {
    const response = await fetch(url, { method })
    expect(response.headers.get('content-length')).toBe('50000')
    expect(response.headers.get('etag')).toBe(`"${sha256}"`)
    expect(response.headers.get('content-type')).toBe('application/wasm')
  }
})

test('an expired URL is 410, a changed one 403, an unknown module 404', async () => {
  await using served = await serve()
  const bytes = new Uint8Array([1, 2, 3])
  const sha256 = digestOf(bytes)
  await served.store.put(sha256, bytes)
  const expired = await served.store.presignDownload(sha256, -1)
  expect(await errorOf(await fetch(expired.url))).toEqual([410, 'gone'])
  const { url } = await served.store.presignDownload(sha256, 60)
  const other = digestOf(new Uint8Array([9]))
  const changed = [
    url.replace(sha256, other),
    url.replace(/expires=\d+/, (text) => `${text}0`),
    url.replace(/&signature=.*/, ''),
    url.replace(/\?.*/, ''),
    `${url}x`,
  ]
  for (const forged of changed) {
    expect(await errorOf(await fetch(forged))).toEqual([403, 'forbidden'])
  }
  const absent = await served.store.presignDownload(other, 60)
  expect(await errorOf(await fetch(absent.url))).toEqual([404, 'not_found'])
  expect((await fetch(`${served.origin}/artifacts/..%2f..%2fkeys`)).status).toBe(404)
})

test('a signature holds for its method, path, time and key, and for nothing else', () => {
  const urls = createSignedUrls(newUrlKey(), () => 'http://x')
  const foreign = createSignedUrls(newUrlKey(), () => 'http://x')
  const pathArbitrary = fc.stringMatching(/^\/[a-z0-9/]{1,30}$/)
  fc.assert(
    fc.property(
      pathArbitrary,
      pathArbitrary,
      fc.constantFrom('GET', 'PUT'),
      (path, other, method) => {
        const query = new URL(urls.sign(method, path, 60).url).searchParams
        urls.verify(method, path, query)
        expect(() => foreign.verify(method, path, query)).toThrow(EdgefnError)
        expect(() => urls.verify(method === 'GET' ? 'PUT' : 'GET', path, query)).toThrow(
          EdgefnError,
        )
        if (other !== path) expect(() => urls.verify(method, other, query)).toThrow(EdgefnError)
      },
    ),
    { numRuns: 100 },
  )
})

test('an upload is asked for before it is read, and refused with the reason given', async () => {
  const refusing = (store: StoreUnderTest['store']): UploadReceiver => ({
    ...receiver()(store),
    async expectUpload() {
      throw new EdgefnError('version_exists', 'Ready.')
    },
  })
  await using served = await serve(refusing)
  const { url } = await served.store.presignUpload(key, 60)
  const answer = await fetch(url, { method: 'PUT', body: 'abc' })
  expect(await errorOf(answer)).toEqual([409, 'version_exists'])
  expect(await served.store.takeUpload(key)).toBeNull()
})

test('an upload that another one overtook is told so', async () => {
  const overtaken = (store: StoreUnderTest['store']): UploadReceiver => ({
    ...receiver()(store),
    completeUpload: async () => ({ uploaded_sha256: digestOf(new Uint8Array([7])) }) as VersionView,
  })
  await using served = await serve(overtaken)
  const { url } = await served.store.presignUpload(key, 60)
  const answer = await fetch(url, { method: 'PUT', body: 'abc' })
  expect(await errorOf(answer)).toEqual([409, 'conflict'])
  expect(await served.store.takeUpload(key)).toBeNull()
})

test('nothing half written is left behind, and a store whose directory is gone says so', async () => {
  await using served = await serve()
  const bytes = new Uint8Array([1])
  const sha256 = digestOf(bytes)
  await served.store.put(sha256, bytes)
  await served.store.put(sha256, bytes)
  const folder = join(served.dir, 'sha256', sha256.slice(0, 2))
  expect(await readdir(folder)).toEqual([`${sha256}.wasm`])
  await rm(served.dir, { recursive: true })
  await expect(served.store.check()).rejects.toMatchObject({ code: 'artifact_store_unavailable' })
  await mkdir(served.dir)
  await expect(served.store.check()).resolves.toBeUndefined()
})
