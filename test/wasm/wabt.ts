/** wabt's programs as the tests use them: text to binary, and a second opinion on binaries. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What wabt has on by default is what edgefn runs; sections it cannot read are none of its business. */
const VALIDATE = ['wasm-validate', '--no-debug-names', '--ignore-custom-section-errors']

interface Answer {
  readonly ok: boolean
  readonly output: string
}

function run(command: string[]): Answer {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command)
  return { ok: exitCode === 0, output: stdout.toString() + stderr.toString() }
}

function withFile<T>(content: string | Uint8Array, use: (path: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'edgefn-wasm-'))
  try {
    const path = join(directory, 'module')
    writeFileSync(path, content)
    return use(path)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Assembles WAT; `flags` such as `--enable-threads`. Does not validate, so that wrong modules can be made. */
export function assemble(text: string, ...flags: string[]): Uint8Array<ArrayBuffer> {
  return withFile(text, (path) => {
    const command = ['wat2wasm', '--no-check', '--output=-', ...flags, path]
    const { exitCode, stdout, stderr } = Bun.spawnSync(command)
    if (exitCode !== 0) throw new Error(stderr.toString())
    return new Uint8Array(stdout)
  })
}

export function validate(module: Uint8Array): Answer {
  return withFile(module, (path) => run([...VALIDATE, path]))
}

/** Validates one module after the other from one reused file; for thousands. */
export function validateAll(modules: readonly Uint8Array[]): Answer[] {
  return withFile('', (path) =>
    modules.map((module) => {
      writeFileSync(path, module)
      return run([...VALIDATE, path])
    }),
  )
}

/** The lines of `wasm-objdump -x` that tell of imports and exports. */
export function externs(module: Uint8Array): string[] {
  const { output } = withFile(module, (path) => run(['wasm-objdump', '-x', path]))
  return output
    .split('\n')
    .filter((line) => /<-|->/.test(line))
    .map((line) => line.replace(/ <[^>]*>/g, '').trim())
}
