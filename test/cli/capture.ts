/** Runs a command line in this process and keeps what it printed. */

import type { ExitCode } from '../../src/cli/exit.ts'
import type { Modes } from '../../src/cli/modes.ts'
import { runCli } from '../../src/cli/run.ts'
import type { Environment } from '../../src/config/resolve.ts'

export interface Captured {
  readonly code: ExitCode
  readonly out: string
  readonly err: string
}

const NO_MODES: Modes = {
  startControlPlane: () => Promise.reject(new Error('No control plane in this test.')),
  startAgent: () => Promise.reject(new Error('No edge node in this test.')),
}

export async function runCaptured(
  words: readonly string[],
  env: Environment = {},
  modes: Modes = NO_MODES,
): Promise<Captured> {
  const written = { out: '', err: '' }
  const terminal = {
    out: (text: string) => void (written.out += text),
    err: (text: string) => void (written.err += text),
    live: false,
  }
  const code = await runCli(words, { terminal, modes, env })
  return { code, ...written }
}
