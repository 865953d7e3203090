/** The process's own terminal. */

import { writeSync } from 'node:fs'

import type { Terminal } from './command.ts'

/** Writes synchronously, so that nothing is lost when the process exits right after. */
export function processTerminal(): Terminal {
  return {
    out: (text) => writeAll(1, text),
    err: (text) => writeAll(2, text),
    live: process.stderr.isTTY === true,
  }
}

function writeAll(file: number, text: string): void {
  let rest: Uint8Array = Buffer.from(text)
  while (rest.byteLength > 0) {
    try {
      rest = rest.subarray(writeSync(file, rest))
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : null
      if (code !== 'EAGAIN') return // EPIPE and the like: nobody reads any more.
      Bun.sleepSync(1)
    }
  }
}
