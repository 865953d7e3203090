/** The rules of the code, as a test: imports, names, sizes, dead files. Messages say what to do. */

import { describe, expect, test } from 'bun:test'

import { importViolations } from './import-rules.ts'
import { importsOf, readSources, type Source } from './sources.ts'
import { textViolations } from './text-rules.ts'

const sources = readSources()

test('files import only what they may', () => {
  expect(sources.flatMap(importViolations)).toEqual([])
})

test('files are named, headed, sized and written as they should be', () => {
  expect(sources.flatMap(textViolations)).toEqual([])
})

test('every file of the program is reached from src/main.ts', () => {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const reached = new Set<string>()
  const open = ['src/main.ts']
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (reached.has(path)) continue
    reached.add(path)
    for (const { file } of byPath.get(path)?.imports ?? []) if (file !== null) open.push(file)
  }
  const program = sources.filter(({ path }) => /^(?:src|ffi)\/.*(?<!\.d)\.ts$/.test(path))
  const dead = program.filter(({ path }) => !reached.has(path)).map(({ path }) => path)
  expect(dead).toEqual([])
})

test('every file that is imported is there', () => {
  const missing = sources.flatMap(({ path, imports }) =>
    imports
      .filter(({ file }) => file?.endsWith('.ts') && !sources.some((each) => each.path === file))
      .map(({ specifier, line }) => `${path}:${line} imports ${specifier}, which is not there`),
  )
  expect(missing).toEqual([])
})

describe('the rules themselves', () => {
  const sourceOf = (path: string, text: string): Source => ({
    path,
    text,
    lines: text.split('\n'),
    imports: importsOf(path, text),
  })

  const imports: readonly (readonly [string, string, string])[] = [
    ['src/cp/api.ts', "import type { A } from '../edge/ipc.ts'", 'cp knows neither edge'],
    ['src/edge/agent/a.ts', "import { b } from '../../cp/context.ts'", 'edge knows neither cp'],
    ['src/cp/nodes/a.ts', "import {\n  b,\n} from '../routes/store.ts'", 'a slice never imports'],
    ['src/cp/nodes/a.ts', "const a = await import('mqtt')", 'only src/edge/agent/mqtt/'],
    ['src/cp/nodes/a.ts', "import { ptr } from 'bun:ffi'", 'only ffi/'],
    ['src/cp/nodes/a.ts', "import x from 'left-pad'", 'give the package an owner'],
    ['src/protocol/a.ts', "import { b } from '../version.ts'", 'nothing but zod'],
    ['src/wasm/a.ts', "import { b } from 'node:fs'", 'wasm is pure'],
    ['src/cli/a.ts', "import { b } from '../cp/main.ts'", 'the cli talks to the API only'],
    ['ffi/a.ts', "export { b } from '../src/errors.ts'", 'nothing of edgefn'],
    ['src/errors.ts', "import { b } from './config/load'", 'write the extension'],
  ]
  test.each(imports)('%s may not %s', (path, text, message) => {
    expect(importViolations(sourceOf(path, text)).join('\n')).toContain(message)
  })

  const head = '/** A file. */\n'
  const long = `function f(\n  a: string,\n): void {\n${'  a\n'.repeat(70)}}\n`
  const texts: readonly (readonly [string, string, string])[] = [
    ['src/a.ts', 'const a = 1\n', 'begin with a doc comment'],
    ['src/cp/utils.ts', head, 'name the file after'],
    ['src/cp/index.ts', head, 'name the file after'],
    ['src/cp/fooBar.ts', head, 'kebab-case'],
    ['src/cp/a.ts', `${head}${'\n'.repeat(400)}`, 'the limit is 400'],
    ['src/cp/a.ts', `${head}const a = process.env['A']\n`, 'only src/config/load.ts'],
    ['src/cp/a.ts', `${head}export default 1\n`, 'export by name'],
    ['src/edge/a.ts', `${head}await thread.terminate()\n`, 'tell the thread to end'],
    ['src/cp/a.ts', `${head}const a = b as any\n`, 'say the type'],
    ['src/cp/a.ts', `${head}function a(b: any) {}\n`, 'say the type'],
    ['test/a.test.ts', `${head}test.only('a', b)\n`, 'every test runs'],
    ['src/cp/a.ts', head + long, 'a function has at most 70'],
    [
      'src/cp/a.ts',
      `${head}class A {\n  async b(): Promise<void> {\n${'    a\n'.repeat(70)}  }\n}\n`,
      'at most 70',
    ],
  ]
  test.each(texts)('text %# in %s is refused', (path, text, message) => {
    expect(textViolations(sourceOf(path, text)).join('\n')).toContain(message)
  })
})
