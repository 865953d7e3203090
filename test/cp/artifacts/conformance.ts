/** What every artifact store must do; run on the directory and on S3. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import type { ArtifactStore } from '../../../src/cp/artifacts/store.ts'
import { EdgefnError } from '../../../src/errors.ts'
import type { Sha256 } from '../../../src/protocol/ids.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'

export interface StoreUnderTest extends AsyncDisposable {
  readonly store: ArtifactStore
  /** Constructs a second store on the same place, as after a restart. */
  again(): ArtifactStore
}

export function digestOf(bytes: Uint8Array): Sha256 {
  return new Bun.CryptoHasher('sha256').update(bytes).digest('hex') as Sha256
}

const key = { function_id: '01890000-0000-7000-8000-000000000001', version: 1 }
const someBytes = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])

async function read(store: ArtifactStore, sha256: Sha256): Promise<Uint8Array | null> {
  const stream = await store.open(sha256)
  return stream === null ? null : new Uint8Array(await new Response(stream).arrayBuffer())
}

export function artifactStoreConformance(name: string, make: () => Promise<StoreUnderTest>): void {
  const on = (what: string, run: (tested: StoreUnderTest) => Promise<void>) =>
    test(`${name}: ${what}`, async () => {
      await using tested = await make()
      await run(tested)
    })

  on('P2: what is put under its digest comes back byte for byte', async ({ store }) => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 2000 }), async (bytes) => {
        const content = new Uint8Array(bytes)
        const sha256 = digestOf(content)
        await store.put(sha256, content)
        expect(await store.head(sha256)).toEqual({ size_bytes: content.byteLength })
        expect(digestOf((await read(store, sha256)) ?? new Uint8Array())).toBe(sha256)
      }),
      { numRuns: 100 },
    )
  })

  on('bytes of another digest are refused and not kept', async ({ store }) => {
    const sha256 = digestOf(new Uint8Array([1]))
    const putting = store.put(sha256, new Uint8Array([2]))
    await expect(putting).rejects.toMatchObject({ code: 'artifact_mismatch' })
    expect(await store.head(sha256)).toBeNull()
  })

  on('what is absent is null, and deleting it is no error', async ({ store }) => {
    const sha256 = digestOf(someBytes)
    expect(await store.head(sha256)).toBeNull()
    expect(await store.open(sha256)).toBeNull()
    expect(await store.takeUpload(key)).toBeNull()
    await store.delete(sha256)
    await store.deleteUpload(key)
    await store.put(sha256, someBytes)
    await store.delete(sha256)
    expect(await store.head(sha256)).toBeNull()
  })

  on(
    'ensure finds what is there, and check says that the store works',
    async ({ store, again }) => {
      const sha256 = digestOf(someBytes)
      await store.put(sha256, someBytes)
      const restarted = again()
      await restarted.ensure()
      await restarted.check()
      expect(await read(restarted, sha256)).toEqual(someBytes)
    },
  )

  on('a presigned download URL fetches the module, and ends', async ({ store }) => {
    const sha256 = digestOf(someBytes)
    await store.put(sha256, someBytes)
    const { url, expires_at } = await store.presignDownload(sha256, 60)
    expect(Math.abs(Date.parse(expires_at) - Date.now() - 60_000)).toBeLessThan(2_000)
    const response = await fetch(url)
    expect(response.status).toBe(200)
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(someBytes)
    expect((await fetch(url, { method: 'PUT', body: 'x' })).ok).toBe(false)
    const tampered = url.replace(
      /(signature=)(.)/i,
      (_all, name: string, first: string) => `${name}${first === '0' ? '1' : '0'}`,
    )
    expect((await fetch(tampered)).status).toBe(403)
  })

  on(
    'what is PUT to a presigned upload URL can be taken, again and again, until deleted',
    async ({ store }) => {
      const { url } = await store.presignUpload(key, 60)
      expect((await fetch(url, { method: 'PUT', body: someBytes })).status).toBe(200)
      expect(await store.takeUpload(key)).toEqual(someBytes)
      expect(await store.takeUpload(key)).toEqual(someBytes)
      expect(await store.takeUpload({ ...key, version: 2 })).toBeNull()
      await store.deleteUpload(key)
      expect(await store.takeUpload(key)).toBeNull()
    },
  )

  on('an upload over the limit is never taken', async ({ store }) => {
    const { url } = await store.presignUpload(key, 60)
    const body = new Uint8Array(LIMITS.moduleBytesMax + 1)
    await fetch(url, { method: 'PUT', body })
    const taken = await store.takeUpload(key).catch((error: unknown) => error)
    const refused = taken instanceof EdgefnError && taken.code === 'body_too_large'
    expect(taken === null || refused).toBe(true)
  })
}
