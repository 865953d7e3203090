import { afterAll, beforeAll, expect, test } from 'bun:test'

import { sha256Schema } from '../../../../src/protocol/ids.ts'
import { HOST_IMPORTS, HOST_MODULES } from '../../../../src/wasm/host-imports.ts'
import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { numberGuest } from './wat.ts'

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(1)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

/** What guests of Spin's modules must export. */
const REALLOC = `(func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))`

function imported(entries: readonly (typeof HOST_IMPORTS)[number][]): string {
  return entries
    .map(({ module, name, params, results }) => {
      const list = (kind: string, types: readonly string[]) =>
        types.length === 0 ? '' : `(${kind} ${types.join(' ')})`
      return `(import "${module}" "${name}" (func ${list('param', params)} ${list('result', results)}))`
    })
    .join('\n')
}

// One guest after the other on one thread: what the first imports is there when the next imports more of the same module.
for (const module of HOST_MODULES) {
  const own = HOST_IMPORTS.filter((entry) => entry.module === module)
  test(`every function of ${module} can be imported, alone and with all others`, async () => {
    for (const entries of [own.slice(0, 1), own, own.slice(-1)]) {
      const fields = `${imported(entries)} ${REALLOC}`
      const fn = runtime.module(numberGuest('(i32.const 7)', fields), { abi: 'edgefn' })
      expect(Number(answer(await runtime.invoker.invoke(fn, request('/'))).text)).toBe(7)
    }
  })
}

test('a guest that imports what there is not is refused, and the next one is served', async () => {
  const [entry] = HOST_IMPORTS
  if (entry === undefined) throw new Error('There are no host functions.')
  const good = runtime.module(numberGuest('(i32.const 7)', imported([entry])))
  // Not what ingest lets through: as if the function had been of a later edgefn.
  const bytes = await Bun.file(good.path ?? '').bytes()
  const name = Buffer.from(bytes).indexOf(entry.name)
  bytes[name] = 'X'.charCodeAt(0)
  await Bun.write(good.path ?? '', bytes)
  const digest = new Bun.CryptoHasher('sha256').update(bytes).digest('hex')
  const sha256 = sha256Schema.parse(digest)
  const outcome = await runtime.invoker.invoke({ ...good, sha256 }, request('/'))
  expect(failure(outcome)).toBe('function_load_failed')
  const next = runtime.module(numberGuest('(i32.const 8)', imported([entry])))
  expect(Number(answer(await runtime.invoker.invoke(next, request('/'))).text)).toBe(8)
})
