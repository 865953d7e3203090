/** The sources of the project as the rules see them: text, lines, and every import with what it resolves to. */

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

export const ROOT = join(import.meta.dir, '../..')

export interface Import {
  /** As written. */
  readonly specifier: string
  /** Path from the root for a file of ours (`src/errors.ts`), null for a package. */
  readonly file: string | null
  /** `hono` for `hono/cors`, `bun:ffi`, null for a file of ours. */
  readonly package: string | null
  /** Erased at compile time. */
  readonly typeOnly: boolean
  readonly line: number
}

export interface Source {
  /** Path from the root, with slashes. */
  readonly path: string
  readonly text: string
  readonly lines: readonly string[]
  readonly imports: readonly Import[]
}

const FOLDERS = ['src', 'ffi', 'scripts', 'test']
/** Built guests, and guests in other languages that happen to end in `.ts`. */
const SKIPPED = /(?:^|\/)(?:node_modules|guests\/(?:as|build))(?:\/|$)/

/** All TypeScript of the project. */
export function readSources(): readonly Source[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true })
      .map((name) => `${folder}/${String(name)}`)
      .filter((path) => path.endsWith('.ts') && !SKIPPED.test(path))
      .toSorted()
      .map(readSource),
  )
}

function readSource(path: string): Source {
  const text = readFileSync(join(ROOT, path), 'utf8')
  return { path, text, lines: text.split('\n'), imports: importsOf(path, text) }
}

/** `from '…'`, `import '…'`, `import('…')`, `require('…')` at the places where formatted code has them. */
const IMPORT =
  /^(?:(import|export)\s(type\s)?(?:[^'"();]*?\sfrom\s)?['"]([^'"\n]+)['"])|\b(?:import|require)\(\s*['"]([^'"\n]+)['"]\s*\)/gm

/** Types only count here and not for Bun's scanner; what the scanner finds must all be found here. */
export function importsOf(path: string, text: string): Import[] {
  const found = [...text.matchAll(IMPORT)].map((match) => ({
    specifier: match[3] ?? match[4] ?? '',
    typeOnly: match[2] !== undefined,
    line: text.slice(0, match.index).split('\n').length,
  }))
  const names = new Set(found.map((each) => each.specifier))
  for (const { path: scanned } of new Bun.Transpiler({ loader: 'ts' }).scanImports(text)) {
    if (!names.has(scanned)) found.push({ specifier: scanned, typeOnly: false, line: 1 })
  }
  return found.map((each) => ({ ...each, ...resolveSpecifier(path, each.specifier) }))
}

function resolveSpecifier(path: string, specifier: string) {
  if (specifier.startsWith('.')) {
    return { file: relative(ROOT, join(ROOT, dirname(path), specifier)), package: null }
  }
  const parts = specifier.split('/')
  const name = specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? specifier)
  return { file: null, package: specifier.startsWith('node:') ? specifier : name }
}
