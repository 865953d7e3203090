/**
 * The one entry of the one binary: argv → mode, each loaded only when asked for (a control plane never loads libwasmedge).
 * The same file re-enters as worker process (`__worker`, `__spare_` while it stands by), compile process (`__compile`), schema
 * process (`__schemas`) and as thread of a worker or a compile process.
 */

import { isMainThread, workerData } from 'node:worker_threads'

import type { CompileJob } from './edge/compile/job.ts'
import type { WorkerOptions } from './edge/ipc.ts'

/** A compiled binary finds its own code under this path; from source the path is this file's. */
const COMPILED_ROOT = '/$bunfs/'

/** The command line that starts another process of this very program. */
function ownCommand(
  mode: '__worker' | '__spare_' | '__compile',
  options: WorkerOptions | CompileJob,
): string[] {
  const entry = Bun.main.startsWith(COMPILED_ROOT) ? [] : [Bun.main]
  return [process.execPath, ...entry, mode, JSON.stringify(options)]
}

const COMMANDS = {
  worker: (options: WorkerOptions) => ownCommand(options.spare ? '__spare_' : '__worker', options),
  compile: (job: CompileJob) => ownCommand('__compile', job),
}

async function runThread(): Promise<void> {
  const thread = await import('./edge/worker/lanes/thread-main.ts')
  await thread.runThread(workerData)
}

async function runWorker(argument: string | undefined): Promise<void> {
  const { workerOptionsSchema } = await import('./edge/ipc.ts')
  const worker = await import('./edge/worker/main.ts')
  await worker.runWorker(workerOptionsSchema.parse(JSON.parse(argument ?? 'null')))
}

async function runCompile(argument: string | undefined): Promise<void> {
  const { compileJobSchema } = await import('./edge/compile/job.ts')
  const compile = await import('./edge/compile/main.ts')
  await compile.runCompile(compileJobSchema.parse(JSON.parse(argument ?? 'null')))
}

async function runSchemas(): Promise<void> {
  const { sqlJobSchema } = await import('./sql/job.ts')
  const { runSqlJob } = await import('./sql/main.ts')
  runSqlJob(sqlJobSchema.parse(await Bun.stdin.json()))
}

async function runCommandLine(words: readonly string[]): Promise<never> {
  const { runCli } = await import('./cli/run.ts')
  const { processTerminal } = await import('./cli/terminal.ts')
  const code = await runCli(words, {
    terminal: processTerminal(),
    modes: {
      startControlPlane: async (config, log) =>
        (await import('./cp/main.ts')).startControlPlane(config, log),
      startAgent: async (config, log) =>
        (await import('./edge/agent/main.ts')).startAgent(config, log, COMMANDS),
    },
  })
  process.exit(code)
}

function main(): Promise<void> {
  process.noDeprecation = true // mqtt.js calls url.parse, and operators would read about it at every start.
  const [mode, ...rest] = process.argv.slice(2)
  if (!isMainThread) return runThread()
  if (mode === '__worker' || mode === '__spare_') return runWorker(rest[0])
  if (mode === '__compile') return runCompile(rest[0])
  if (mode === '__schemas') return runSchemas()
  return runCommandLine(process.argv.slice(2))
}

await main()
