/** Files that several processes of a node map into memory, to share numbers without messages. */

import { closeSync, fstatSync, openSync, writeSync } from 'node:fs'

/** Maps `bytes` of a file, which is created when it is missing or short. Throws what the file system throws. */
export function mapShared(path: string, bytes: number): ArrayBufferLike {
  const file = openSync(path, 'a+')
  try {
    // Zeros, not a hole: on a full disk, a store into a hole would end the process (SIGBUS).
    const zeros = new Uint8Array(Math.max(0, bytes - fstatSync(file).size))
    for (let at = 0; at < zeros.byteLength;) at += writeSync(file, zeros, at)
  } finally {
    closeSync(file)
  }
  return Bun.mmap(path, { shared: true }).buffer
}
