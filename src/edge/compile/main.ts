/** A compile process: one job, then the end. It compiles at a low priority and may be killed at any moment. */

import { writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'

import { openLibc } from '../../../ffi/libc.ts'
import { openWasmedge } from '../../../ffi/library.ts'
import { errorMessage } from '../../errors.ts'
import { REWRITER_VERSION } from '../compiled-signature.ts'
import { compileGuest, printAnswer, readArtifact } from './compile.ts'
import type { CompileAnswer, CompileJob } from './job.ts'
import { selfTest } from './self-test.ts'

/**
 * Niceness. The first form must come on a busy node too, for interpreting may be what keeps it busy; at 19 a compilation of
 * 4 s took 3 minutes beside ten busy threads.
 */
const NICENESS = { O0: 5, O2: 15 } as const

/** Does the job and prints its answer. Exit code 0 when it could be done. */
export async function runCompile(job: CompileJob): Promise<never> {
  // The self-test is short, measures time, and everything waits for it.
  if (job.kind === 'module') setPriority(NICENESS[job.level])
  const libc = openLibc()
  libc.limitProcess(job.cpu_seconds_max)
  // Nobody would watch its memory, and nobody waits for what it makes.
  libc.endWithParent()
  volunteer()
  let answer: CompileAnswer
  try {
    answer = await perform(job)
  } catch (thrown) {
    answer = { ok: false, error: errorMessage(thrown) }
  }
  printAnswer(answer)
  process.exit(answer.ok ? 0 : 1)
}

async function perform(job: CompileJob): Promise<CompileAnswer> {
  const lib = openWasmedge()
  const engine = String(lib.WasmEdge_VersionGet())
  if (job.kind === 'self_test') {
    await selfTest(lib, job)
    return { ok: true, engine, rewriter: REWRITER_VERSION, rounds: 1 }
  }
  const rounds = compileGuest(lib, {
    bytes: readArtifact(job.source, job.sha256),
    level: job.level,
    stopMode: job.stop_mode,
    output: job.output,
  })
  return { ok: true, engine, rewriter: REWRITER_VERSION, rounds }
}

/** When memory runs out, the kernel shall take this process before any that serves. */
function volunteer(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '1000')
  } catch {
    // Not on Linux, or not allowed here: the agent watches the memory in any case.
  }
}
