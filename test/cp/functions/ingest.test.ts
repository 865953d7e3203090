/** From upload to ready version: digests, normalisation, refusals, races. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import type { VersionView } from '../../../src/protocol/api.ts'
import { sha256Schema } from '../../../src/protocol/ids.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'
import { artifactStatement } from '../../../src/protocol/manifest.ts'
import type { FunctionStack } from './stack.ts'
import { functionStack } from './stack.ts'
import { edgefnModule } from './wasm-module.ts'

function digestOf(bytes: Uint8Array): string {
  return new Bun.CryptoHasher('sha256').update(bytes).digest('hex')
}

async function stored(stack: FunctionStack, sha256: string): Promise<Uint8Array> {
  const stream = await stack.store.open(sha256Schema.parse(sha256))
  return new Uint8Array(await new Response(stream ?? '').arrayBuffer())
}

test('P2: the digests of any module are those of what was sent and of what is stored', async () => {
  await using stack = await functionStack()
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.option(fc.string({ maxLength: 40 }), { nil: undefined }),
      async (data, note) => {
        const module = edgefnModule({ data, ...(note === undefined ? {} : { note }) })
        const version = await stack.deploy('hello', module)
        expect(`${version.uploaded_sha256}`).toBe(digestOf(module))
        const kept = await stored(stack, version.sha256 ?? '')
        expect(`${version.sha256}`).toBe(digestOf(kept))
        expect(version.size_bytes).toBe(kept.byteLength)
        // Custom sections are all that normalisation takes away, so the same code has the same digest.
        expect(kept).toEqual(edgefnModule({ data }))
      },
    ),
    { numRuns: 100 },
  )
})

test('a ready version is signed, downloadable and the newest', async () => {
  await using stack = await functionStack()
  const module = edgefnModule()
  const version = await stack.deploy('hello', module)
  expect(version).toMatchObject({ state: 'ready', abi: 'edgefn', version: 1 })
  await stack.register({ name: 'hello' })
  const detail = await stack.call('GET', '/functions/hello')
  expect(detail.body).toMatchObject({ latest_version: 1, latest: { sha256: version.sha256 } })
  const download = await stack.call('GET', '/functions/hello/download')
  const { url, sha256, size_bytes } = download.body as Record<'url' | 'sha256', string> & {
    size_bytes: number
  }
  const fetched = new Uint8Array(await (await fetch(url)).arrayBuffer())
  expect([digestOf(fetched), fetched.byteLength]).toEqual([sha256, size_bytes])
  const { signature } = await stack.lookup.version(stack.db, version.function_id, null)
  const raw = Buffer.from(stack.publicKey, 'base64url')
  const key = await crypto.subtle.importKey('raw', raw, { name: 'Ed25519' }, false, ['verify'])
  const given = Buffer.from(signature, 'base64url')
  expect(await crypto.subtle.verify('Ed25519', key, given, artifactStatement(sha256))).toBe(true)
})

test('completing again changes nothing, and a second PUT is 409: versions are immutable', async () => {
  await using stack = await functionStack()
  const { upload_url, id } = await stack.register({ name: 'hello' })
  const path = `/functions/${id}/versions/1/complete`
  expect(await stack.call('POST', path)).toMatchObject({
    status: 409,
    body: { error: { code: 'module_missing' } },
  })
  const first = await stack.upload(upload_url, edgefnModule())
  expect(await stack.call('POST', path)).toEqual(first)
  expect(await stack.call('POST', '/functions/hello/versions/1/complete')).toEqual(first)
  const second = await stack.upload(upload_url, edgefnModule({ data: new Uint8Array([2]) }))
  expect(second).toMatchObject({ status: 409, body: { error: { code: 'version_exists' } } })
  expect(await stack.call('GET', '/functions/hello/versions/1')).toMatchObject(first)
})

const REFUSED: readonly (readonly [string, Uint8Array<ArrayBuffer>, string])[] = [
  ['no bytes at all', new Uint8Array(0), 'module_invalid'],
  ['text', new TextEncoder().encode('hello'), 'module_invalid'],
  ['an ELF file', new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0]), 'module_invalid'],
  ['a module cut in half', edgefnModule().slice(0, 40), 'module_invalid'],
  ['a module without the entrypoint', edgefnModule({ entrypoint: 'other' }), 'module_unsupported'],
  ['a module that needs more memory', edgefnModule({ memory_pages: 17 }), 'module_unsupported'],
]

test.each(REFUSED)(
  '%s is refused with 400 and nothing of it is kept',
  async (_name, bytes, code) => {
    await using stack = await functionStack()
    const { upload_url, id } = await stack.register({ name: 'hello' })
    const answer = await stack.upload(upload_url, bytes)
    expect(answer).toMatchObject({ status: 400, body: { error: { code } } })
    expect(await stack.call('GET', `/functions/${id}`)).toMatchObject({ status: 404 })
    for (const table of ['functions', 'versions', 'artifacts']) {
      expect(await stack.db.all(`SELECT * FROM ${table}`)).toEqual([])
    }
    expect(await stack.store.takeUpload({ function_id: id, version: 1 })).toBeNull()
  },
)

test('a refused version leaves the function its other versions, its routes, and the number free', async () => {
  await using stack = await functionStack()
  await stack.deploy('hello', edgefnModule())
  const bad = await stack.register({ name: 'hello' })
  expect((await stack.upload(bad.upload_url, new Uint8Array([1]))).status).toBe(400)
  expect((await stack.call('GET', '/functions/hello')).body).toMatchObject({ latest_version: 1 })
  expect((await stack.register({ name: 'hello' })).version).toBe(2)

  const routed = await stack.register({ name: 'routed' })
  await stack.db.run(
    `INSERT INTO routes (id, host, path, path_type, methods, function_id, priority, revision, created_at, updated_at)
     VALUES ('r', '*', '/', 'prefix', '[]', ?, 0, 1, '', '')`,
    [routed.id],
  )
  expect((await stack.upload(routed.upload_url, new Uint8Array([1]))).status).toBe(400)
  expect((await stack.call('GET', '/functions/routed')).status).toBe(200)
})

test('an upload over the limit is 413, while it is sent', async () => {
  await using stack = await functionStack()
  const { upload_url } = await stack.register({ name: 'hello' })
  const answer = await stack.upload(upload_url, new Uint8Array(LIMITS.moduleBytesMax + 1))
  expect(answer).toMatchObject({ status: 413, body: { error: { code: 'body_too_large' } } })
  expect((await stack.upload(upload_url, edgefnModule())).status).toBe(200)
})

test('of many completions at once one writes, and all get the same answer', async () => {
  await using stack = await functionStack()
  const { id, version, version_record } = await stack.register({ name: 'hello' })
  const staged = stack.store as unknown as {
    stageUpload(key: object, bytes: Uint8Array): Promise<void>
  }
  await staged.stageUpload({ function_id: id, version }, edgefnModule())
  const path = `/functions/${id}/versions/${version}/complete`
  const answers = await Promise.all(Array.from({ length: 8 }, () => stack.call('POST', path)))
  for (const answer of answers) expect(answer).toEqual(answers[0] ?? { status: 0, body: null })
  expect(answers[0]).toMatchObject({ status: 200, body: { state: 'ready' } })
  expect(version_record.state).toBe('pending_upload')
  const rows = await stack.db.all(`SELECT * FROM audit_log WHERE operation = 'update'`)
  expect(rows).toHaveLength(1)
})

test('two different uploads at once: one is kept, the other is told so', async () => {
  await using stack = await functionStack()
  const { upload_url, id } = await stack.register({ name: 'hello' })
  const modules = [1, 2, 3, 4].map((byte) => edgefnModule({ data: new Uint8Array([byte]) }))
  const answers = await Promise.all(modules.map((module) => stack.upload(upload_url, module)))
  const kept = (await stack.call('GET', `/functions/${id}/versions/1`)).body as VersionView
  answers.forEach((answer, index) => {
    const mine = digestOf(modules[index] ?? new Uint8Array()) === kept.uploaded_sha256
    expect(answer.status).toBe(mine ? 200 : 409)
  })
  expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1)
})

test('versions are listed newest first, in pages; a version without a module is told from none', async () => {
  await using stack = await functionStack()
  for (let i = 0; i < 3; i += 1) await stack.deploy('hello', edgefnModule())
  const { id, version } = await stack.register({ name: 'hello' })
  const first = await stack.call('GET', '/functions/hello/versions?limit=2')
  expect(first.body).toMatchObject({ items: [{ version: 4 }, { version: 3 }], next_cursor: '3' })
  const second = await stack.call('GET', '/functions/hello/versions?limit=2&cursor=3')
  expect(second.body).toMatchObject({ items: [{ version: 2 }, { version: 1 }], next_cursor: null })
  const lookup = (number: number | null) => stack.lookup.version(stack.db, id, number)
  await expect(lookup(version)).rejects.toMatchObject({ code: 'module_missing' })
  await expect(lookup(99)).rejects.toMatchObject({ code: 'version_not_found' })
  expect((await lookup(null)).version).toBe(3)
  expect((await stack.call('GET', '/functions/hello/versions/x')).status).toBe(400)
  expect((await stack.call('GET', '/functions/hello/versions/99')).status).toBe(404)
})

test('an ABI that was asked for is the one that the upload must speak', async () => {
  await using stack = await functionStack()
  const waiting = await stack.register({ name: 'hello', abi: 'edgefn' })
  expect(waiting.version_record).toMatchObject({ abi: 'edgefn', state: 'pending_upload' })
  expect((await stack.upload(waiting.upload_url, edgefnModule())).status).toBe(200)
  const other = await stack.register({ name: 'hello', abi: 'spin' })
  const refused = await stack.upload(other.upload_url, edgefnModule())
  expect(refused).toMatchObject({ status: 400, body: { error: { code: 'module_unsupported' } } })
  expect(JSON.stringify(refused.body)).toContain('For Spin 1.x: ')
  expect((await stack.call('GET', '/functions/hello/versions/2')).status).toBe(404)
  const unknown = await stack.call('POST', '/functions', { name: 'hello', abi: 'cgi' })
  expect(unknown.status).toBe(400)
})
