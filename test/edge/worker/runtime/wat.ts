/** Small edgefn guests written as WAT in a test, built with wabt's wat2wasm. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Assembles WAT, with switches of wat2wasm's. Throws with its own words. */
export function assemble(wat: string, flags: readonly string[] = []): Uint8Array<ArrayBuffer> {
  const dir = mkdtempSync(join(tmpdir(), 'edgefn-wat-'))
  try {
    writeFileSync(join(dir, 'm.wat'), wat)
    const built = Bun.spawnSync([
      'wat2wasm',
      ...flags,
      join(dir, 'm.wat'),
      '-o',
      join(dir, 'm.wasm'),
    ])
    if (built.exitCode !== 0) throw new Error(`wat2wasm: ${built.stderr.toString()}`)
    return new Uint8Array(readFileSync(join(dir, 'm.wasm')))
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/**
 * An edgefn guest that answers a number, computed by `body` (an i32 expression), in decimal. `imports` come first in the
 * module; `pages` is the memory's minimum.
 */
export function numberGuest(body: string, imports = '', pages = 1): Uint8Array<ArrayBuffer> {
  return assemble(`(module ${imports}
    (memory (export "memory") ${pages})
    (global $heap (mut i32) (i32.const 4096))
    (func (export "alloc") (param $size i32) (result i32)
      (if (i32.gt_u (i32.add (global.get $heap) (local.get $size)) (i32.shl (memory.size) (i32.const 16)))
        (then (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
      (global.get $heap) (global.set $heap (i32.add (global.get $heap) (local.get $size))))
    (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32) (param $out i32) (param i32) (result i32)
      (local $n i32) (local $i i32)
      (local.set $n ${body})
      (i32.store8 (local.get $out) (i32.const 10))
      (local.set $i (i32.const 10))
      (loop $digits
        (i32.store8 (i32.add (local.get $out) (local.get $i))
          (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
        (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
        (local.set $i (i32.sub (local.get $i) (i32.const 1)))
        (br_if $digits (i32.gt_u (local.get $i) (i32.const 0))))
      (i32.const 11)))`)
}
