/** A folder that looks like `/proc` and `/sys/fs/cgroup`, as far as the agent reads and writes them. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

import type { KernelFiles } from '../../../../src/edge/agent/memory/cgroup.ts'

export interface KernelTree extends Disposable {
  readonly files: KernelFiles
  /** Writes a file; `path` begins with `proc/` or `cgroup/`. */
  write(path: string, text: string | number): void
  path(path: string): string
}

export function kernelTree(entries: Readonly<Record<string, string | number>>): KernelTree {
  const dir = mkdtempSync(join(tmpdir(), 'edgefn-kernel-'))
  const path = (name: string) => join(dir, name)
  function write(name: string, text: string | number): void {
    mkdirSync(dirname(path(name)), { recursive: true })
    writeFileSync(path(name), String(text))
  }
  for (const [name, text] of Object.entries(entries)) write(name, text)
  return {
    files: { proc: path('proc'), cgroup: path('cgroup') },
    write,
    path,
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  }
}
