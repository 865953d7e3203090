import { expect, test } from 'bun:test'
import { join } from 'node:path'

import { memoryPagesFor, readModule } from '../../src/cli/deploy/module-file.ts'
import { inspectModule } from '../../src/wasm/check.ts'

const pagesFor = (guest: string) =>
  memoryPagesFor(inspectModule(readModule(join(import.meta.dir, `../guests/build/${guest}.wasm`))))

test('a module gets the default, twice what it starts with, or for Go all there is', () => {
  expect(pagesFor('hello-c')).toBe(16)
  expect(pagesFor('memory-17')).toBe(34)
  expect(pagesFor('example-go')).toBe(256)
  expect(pagesFor('example-wagi-go')).toBe(256)
})
