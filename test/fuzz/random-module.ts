/** Random valid modules: binaryen's translation of random bytes, within the features that edgefn runs. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { below, randomBytes, randomOf } from './random.ts'

const FEATURES = [
  '--mvp-features',
  '--enable-mutable-globals',
  '--enable-sign-ext',
  '--enable-nontrapping-float-to-int',
  '--enable-bulk-memory',
  '--enable-multivalue',
]
const SOMETIMES = ['--enable-simd', '--enable-reference-types']

/** Bytes that a module is made of, at most; binaryen makes some 20 functions of 4000. */
const inputBytesMax = 4000

/**
 * The module of a seed. It exports its functions and `hashMemory`, imports functions that log what it computes, and bounds
 * its own loops and recursion. Reference types bring others along that binaryen does not switch off: then it may be one that
 * edgefn refuses.
 */
export function randomModule(seed: number): Uint8Array<ArrayBuffer> {
  const random = randomOf(seed)
  const folder = mkdtempSync(join(tmpdir(), 'edgefn-fuzz-'))
  try {
    const input = join(folder, 'input')
    const output = join(folder, 'output')
    writeFileSync(input, randomBytes(random, 50 + below(random, inputBytesMax)))
    const features = [...FEATURES, ...SOMETIMES.filter(() => random() < 0.3)]
    const command = ['wasm-opt', input, '-ttf', '--denan', '-o', output, ...features]
    const { exitCode, stderr } = Bun.spawnSync(command)
    if (exitCode !== 0) throw new Error(`wasm-opt, seed ${seed}: ${stderr.toString()}`)
    return new Uint8Array(readFileSync(output))
  } finally {
    rmSync(folder, { recursive: true })
  }
}
