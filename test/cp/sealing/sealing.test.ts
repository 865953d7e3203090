import { afterAll, expect, test } from 'bun:test'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import fc from 'fast-check'

import { createSealing, sealingKeyOf } from '../../../src/cp/sealing.ts'

const dir = await mkdtemp(join(tmpdir(), 'edgefn-sealing-'))
const keysFile = join(dir, 'keys', 'sealing.keys')
afterAll(() => rm(dir, { recursive: true, force: true }))

test('what was sealed opens again, for its purpose only', async () => {
  const sealing = await createSealing(dir)
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'grapheme' }), fc.string(), async (text, purpose) => {
      const sealed = await sealing.seal(purpose, text)
      expect(await sealing.open(purpose, sealed)).toBe(text)
      await expect(sealing.open(`${purpose}x`, sealed)).rejects.toThrow('does not open')
      expect(await sealing.seal(purpose, text)).not.toBe(sealed)
    }),
    { numRuns: 200 },
  )
})

test('a changed text does not open, wherever it was changed', async () => {
  const sealing = await createSealing(dir)
  const sealed = await sealing.seal('a', 'the value')
  const start = sealed.lastIndexOf('.') + 1
  for (let at = start; at < sealed.length; at += 1) {
    const other = sealed[at] === 'A' ? 'Q' : 'A'
    const changed = `${sealed.slice(0, at)}${other}${sealed.slice(at + 1)}`
    await expect(sealing.open('a', changed)).rejects.toThrow()
  }
  await expect(sealing.open('a', 'the value')).rejects.toThrow('with the key ?')
})

test('the keys are readable by their owner only and last', async () => {
  const sealed = await (await createSealing(dir)).seal('a', 'b')
  expect((await stat(keysFile)).mode & 0o777).toBe(0o600)
  expect(await (await createSealing(dir)).open('a', sealed)).toBe('b')
})

test('a new first line seals, and the old lines still open', async () => {
  const before = await createSealing(dir)
  const old = await before.seal('a', 'old')
  const key = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64')
  await writeFile(keysFile, `# added by hand\nnew ${key}\n${await readFile(keysFile, 'utf8')}`)
  const after = await createSealing(dir)
  expect(after.key_id).toBe('new')
  expect(sealingKeyOf(await after.seal('a', 'b'))).toBe('new')
  expect(await after.open('a', old)).toBe('old')
  await writeFile(keysFile, `new ${key}\n`)
  await expect((await createSealing(dir)).open('a', old)).rejects.toThrow(
    `with the key ${before.key_id}, which keys/sealing.keys does not have`,
  )
  await writeFile(keysFile, 'new short\n')
  await expect(createSealing(dir)).rejects.toThrow('not an id and 32 bytes')
})
