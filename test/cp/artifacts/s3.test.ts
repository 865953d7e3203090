/** The S3 store on a real S3 server, behind a gate that checks signatures as AWS does. */

import { expect, test } from 'bun:test'
import S3rver from 's3rver'

import { createArtifactStore } from '../../../src/cp/artifacts/create.ts'
import type { ArtifactStore } from '../../../src/cp/artifacts/store.ts'
import { tempFolder } from '../db/temp-database.ts'
import type { StoreUnderTest } from './conformance.ts'
import { artifactStoreConformance } from './conformance.ts'
import { signatureGate } from './signature-gate.ts'

function storeAt(endpoint: string, secret = 'S3RVER'): ArtifactStore {
  return createArtifactStore({
    config: {
      kind: 's3',
      bucket: 'modules',
      endpoint,
      region: 'us-east-1',
      access_key_id: 'S3RVER',
      secret_access_key: secret,
    },
    data_dir: '/nonexistent',
    public_url: () => 'http://unused',
  })
}

async function serve(): Promise<StoreUnderTest & { readonly endpoint: string }> {
  const folder = await tempFolder()
  const server = new S3rver({
    port: 0,
    address: '127.0.0.1',
    silent: true,
    directory: folder.path,
  })
  const { port } = await server.run()
  const gate = signatureGate(`http://127.0.0.1:${port}`, 'S3RVER')
  const endpoint = `http://127.0.0.1:${gate.port}`
  const again = () => storeAt(endpoint)
  const store = again()
  await store.ensure()
  return {
    endpoint,
    store,
    again,
    async [Symbol.asyncDispose]() {
      await gate.stop(true)
      await server.close()
      await folder[Symbol.asyncDispose]()
    },
  }
}

artifactStoreConformance('s3', serve)

test('a server that does not answer, and credentials that are wrong, are artifact_store_unavailable', async () => {
  await using served = await serve()
  const wrong = storeAt(served.endpoint, 'wrong')
  const dead = storeAt('http://127.0.0.1:1')
  for (const store of [wrong, dead]) {
    for (const work of [
      () => store.ensure(),
      () => store.check(),
      () => store.takeUpload({ function_id: 'f', version: 1 }),
    ]) {
      await expect(work()).rejects.toMatchObject({ code: 'artifact_store_unavailable' })
    }
  }
})

test('credentials that are missing are named', () => {
  const create = () =>
    createArtifactStore({
      config: {
        kind: 's3',
        bucket: 'b',
        endpoint: null,
        region: 'us-east-1',
        access_key_id: null,
        secret_access_key: null,
      },
      data_dir: '/nonexistent',
      public_url: () => 'http://unused',
    })
  expect(create).toThrow('AWS_ACCESS_KEY_ID')
})
