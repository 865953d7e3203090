import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const LIBRARY = resolve(import.meta.dir, '../../ffi/library.ts')

test('a library in the working directory is never loaded', () => {
  const dir = mkdtempSync(join(tmpdir(), 'edgefn-cwd-'))
  try {
    for (const name of ['libwasmedge.so.0', 'libwasmedge.so'])
      writeFileSync(join(dir, name), 'no ELF')
    const script = `import { openWasmedge } from ${JSON.stringify(LIBRARY)}; openWasmedge()`
    const child = Bun.spawnSync([process.execPath, '-e', script], { cwd: dir })
    expect(child.exitCode).not.toBe(0)
    expect(child.stderr.toString()).toContain(
      'libwasmedge.so.0 in the working directory is not loaded',
    )
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
