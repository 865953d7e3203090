/** Runs one compile process at a time to its end, and ends it when it takes more time or memory than it may, or than there is. */

import { EdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { REWRITER_VERSION } from '../../compiled-signature.ts'
import type { CompileAnswer, CompileJob } from '../../compile/job.ts'
import { compileAnswerSchema } from '../../compile/job.ts'
import { preferForOom, residentBytes } from '../supervise/proc.ts'

/** Milliseconds between looks at the process. */
const lookMs = 100
/** Characters of the compiler's own words that are kept. */
const wordsMax = 500

export type CompileCommand = (job: CompileJob) => string[]

export interface CompileSignals {
  readonly closing: AbortSignal
  /** Aborts when the node is short of memory: hot instances need what a compilation takes. */
  readonly shortage: AbortSignal
  /** Aborts when nobody wants the result any more. */
  readonly dropped?: AbortSignal
}

export interface CompileLimits {
  /** Resident bytes of the process. */
  readonly bytesMax: number
  /** At the lowest priority a process may wait for a processor much longer than it uses one. */
  readonly wallMsPerCpuSecond: number
}

const COMPILE_LIMITS: CompileLimits = {
  bytesMax: LIMITS.compileBytesMax,
  wallMsPerCpuSecond: 10_000,
}

/**
 * Runs the job. Throws EdgefnError `internal` saying why it could not be done: the compiler's refusal, its crash, its limits;
 * and an Error when the node, and not the job, is why. Nothing of it runs any more then.
 */
export async function runCompileProcess(
  command: CompileCommand,
  job: CompileJob,
  { closing, shortage, dropped }: CompileSignals,
  limits = COMPILE_LIMITS,
): Promise<CompileAnswer & { ok: true }> {
  const child = Bun.spawn({ cmd: command(job), stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  preferForOom(child.pid)
  const wallMsMax = job.cpu_seconds_max * limits.wallMsPerCpuSecond
  const startedAt = performance.now()
  const tooSlow = `it took over ${wallMsMax} ms`
  let excess: string | null = null
  const stop = (reason: string) => {
    excess ??= reason
    child.kill('SIGKILL')
  }
  const look = setInterval(() => {
    const bytes = residentBytes(child.pid) ?? 0
    if (bytes > limits.bytesMax) stop(`it took over ${limits.bytesMax} bytes of memory`)
    if (performance.now() - startedAt > wallMsMax) stop(tooSlow)
  }, lookMs)
  const abort = () => stop('the node is shutting down')
  const giveWay = () => stop('the node is short of memory')
  const drop = () => stop('the function is not in service any more')
  closing.addEventListener('abort', abort, { once: true })
  shortage.addEventListener('abort', giveWay, { once: true })
  dropped?.addEventListener('abort', drop, { once: true })
  try {
    if (closing.aborted) abort()
    if (shortage.aborted) giveWay()
    if (dropped?.aborted === true) drop()
    const [printed, words] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    if (child.signalCode === 'SIGKILL' && shortage.aborted) {
      throw new Error('The compiler gave way, because the node is short of memory.')
    }
    if (child.signalCode === 'SIGKILL' && excess === null && !usedUp(child, job)) {
      // The kernel, which ends this process first when memory runs out, or somebody: it says nothing about the module.
      throw new Error('The compiler was ended by SIGKILL, which the node did not send.')
    }
    // It did not get the processor time that it may use: the machine is too busy.
    if (excess === tooSlow) throw new Error(`The compiler did not finish: ${tooSlow}.`)
    return read(printed, excess ?? ending(child, words, job))
  } finally {
    clearInterval(look)
    closing.removeEventListener('abort', abort)
    shortage.removeEventListener('abort', giveWay)
    dropped?.removeEventListener('abort', drop)
  }
}

/** Whether a process that has ended had used its processor time. */
function usedUp(child: Bun.Subprocess, { cpu_seconds_max }: CompileJob): boolean {
  const micros = Number(child.resourceUsage()?.cpuTime.total ?? 0)
  return child.signalCode === 'SIGXCPU' || micros >= cpu_seconds_max * 1e6
}

function ending(child: Bun.Subprocess, words: string, job: CompileJob): string {
  if (child.signalCode !== null && usedUp(child, job)) return 'it used up its processor time'
  if (child.signalCode !== null) return `it was ended by ${child.signalCode}`
  return `it ended with code ${child.exitCode}: ${words.trim().slice(-wordsMax)}`
}

function read(printed: string, reason: string): CompileAnswer & { ok: true } {
  const last = printed.trim().split('\n').at(-1) ?? ''
  let answer: CompileAnswer | null = null
  try {
    answer = compileAnswerSchema.parse(JSON.parse(last))
  } catch {
    // It did not come to answer: the reason says why.
  }
  if (answer?.ok === true && answer.rewriter !== REWRITER_VERSION) {
    throw new Error('The program was replaced by another version; restart the node to compile.')
  }
  if (answer?.ok === true) return answer
  throw new EdgefnError('internal', answer?.error ?? `The compiler did not finish: ${reason}.`)
}
