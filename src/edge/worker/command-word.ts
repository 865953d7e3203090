/** The word on its command line by which operators tell a worker from a spare one, changed when a spare begins to serve. */

import { readFileSync } from 'node:fs'

import { openLibc } from '../../../ffi/libc.ts'

/** Of the same length, because one is written over the other. */
export const WORKER_WORD = '__worker'
export const SPARE_WORD = '__spare_'

/** Field of /proc/self/stat with the address of the command line, counted from the one after the command's name. */
const ARG_START_FIELD = 45

/** Changes a word of what `ps` shows of this process. Where the system tells no address, the old word stays. */
export function renameCommand(from: string, to: string): void {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1')
    const start = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[ARG_START_FIELD])
    const at = readFileSync('/proc/self/cmdline', 'latin1').indexOf(`\0${from}\0`)
    if (!(start > 0) || at < 0) return
    const word = new TextEncoder().encode(to)
    openLibc().copyOut(start + at + 1, word, word.byteLength)
  } catch {
    // Not Linux, or /proc is not there.
  }
}
