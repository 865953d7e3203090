/** Which processor this is, as far as compiled code depends on it: files made on one machine may be moved to another. */

import { readFileSync } from 'node:fs'

/** Lines of `/proc/cpuinfo` that tell what instructions there are, on x86-64 and aarch64. */
const TELLING = /^(?:vendor_id|cpu family|model|model name|flags|CPU part|CPU variant|Features)\s*:/

/** A short name that two machines share only when native code of one runs on the other. */
export function processorName(): string {
  let told = process.arch as string
  try {
    const [first] = readFileSync('/proc/cpuinfo', 'latin1').split('\n\n')
    told += (first ?? '')
      .split('\n')
      .filter((line) => TELLING.test(line))
      .join('\n')
  } catch {
    // Not on Linux: the architecture has to do.
  }
  const digest = new Bun.CryptoHasher('sha256').update(told).digest('hex')
  return `${process.arch}-${digest.slice(0, 12)}`
}
