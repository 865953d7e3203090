/** A worker process put together: statistics, invoker, listener, link to the agent. */

import { openLibc } from '../../../ffi/libc.ts'
import { toEdgefnError } from '../../errors.ts'
import { createLog } from '../../telemetry/log.ts'
import type { Log } from '../../telemetry/log.ts'
import { BreakerFile } from '../breaker-file.ts'
import type { WorkerOptions } from '../ipc.ts'
import { QuotaFile } from '../quota.ts'
import { StatsFile } from '../stats.ts'
import { VerdictFile } from '../verdicts.ts'
import { createAdmission } from './admit/admission.ts'
import { createGuard } from './admit/guard.ts'
import { createAgentLink, type AgentLink } from './agent-link.ts'
import { renameCommand, SPARE_WORD, WORKER_WORD } from './command-word.ts'
import type { HostOptions } from './host/host.ts'
import { startThread } from './lanes/thread.ts'
import { createInvoker } from './pool/invoker.ts'
import { WorkerService } from './service.ts'

/**
 * Runs as worker process until told to stop, then exits: 0 after draining, 1 when it broke or cannot serve at all (no
 * engine, address taken), which the agent is told as `failed`.
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const log = createLog({
    component: 'edge-worker',
    level: options.log_level,
    pretty: options.log_pretty,
    fields: { node_id: options.node_id, worker: options.index },
  })
  const link = createAgentLink(log)
  const defect = Promise.withResolvers<string>()
  try {
    const stats = new StatsFile(options.stats_path)
    const nowMs = openLibc().monotonicMs
    const host = hostOptions(options)
    const verdicts = new VerdictFile(options.verdicts_path)
    // There is always a process in the first seat, be it a spare.
    if (options.index === 0) startKeeper(host, log)
    const { invoker, engine } = await createInvoker({
      entry: Bun.main,
      threads_max: options.executor_threads_max,
      compile_key: options.compile_key,
      pool_bytes_max: options.pool_bytes_max,
      stats,
      host,
      fetch_allow_private: options.fetch_allow_private,
      running: { path: options.running_path, seats: options.workers, seat: options.index },
      verdicts,
      onDefect: (reason, stuck) => {
        log.error('The worker is broken and will be replaced', {
          error_type: stuck === null ? 'worker_lost' : 'guest_stop_defect',
          error_message: reason,
          ...(stuck === null ? {} : { function_id: stuck.function_id, context: { ...stuck } }),
        })
        defect.resolve(reason)
      },
    })
    const quotas = new QuotaFile(options.quotas_path, options.workers)
    const admission = createAdmission({
      quotas,
      worker: options.index,
      nowMs,
    })
    const breakers = new BreakerFile(options.breakers_path)
    const guard = createGuard({ verdicts, breakers, now: Date.now })
    const listen = await whenToServe(options, link)
    if (listen === null) process.exit(0)
    const worker = new WorkerService({
      ...{
        options: { ...options, listen },
        link,
        log,
        stats,
        quotas,
        admission,
        guard,
        invoker,
        engine,
      },
      nowMs,
    })
    worker.open()
    void defect.promise.then((reason) => worker.drain(reason, 1))
    process.exit(await worker.ended())
  } catch (thrown) {
    const { code, message } = toEdgefnError(thrown)
    log.failure('The worker cannot start', thrown)
    await link.sendLast({ type: 'failed', error: { code, message } })
    process.exit(1)
  }
}

/** The address to listen on, at once or when a spare is told to serve; null: it is not needed any more. */
async function whenToServe(
  { spare, listen }: WorkerOptions,
  link: AgentLink,
): Promise<WorkerOptions['listen'] | null> {
  if (!spare) return listen
  const port = await link.standBy()
  if (port === null) return null
  renameCommand(SPARE_WORD, WORKER_WORD)
  return { ...listen, port }
}

function hostOptions(options: WorkerOptions): HostOptions {
  const {
    node_id,
    index: worker,
    kv_dir,
    sql_dir,
    guest_metrics_dir,
    log_level,
    log_pretty,
  } = options
  const log = { level: log_level, pretty: log_pretty, fields: { node_id, worker } }
  return { kv_dir, sql_dir, guest_metrics_dir, log }
}

const keeperRestartMs = 1_000

/** Without a keeper, guests that write much would soon wait for it. */
function startKeeper(host: HostOptions, log: Log): void {
  const keeper = startThread(Bun.main, { edgefn_thread: 'kv_keeper', host })
  keeper.on('error', (thrown) => {
    log.failure('The keeper of the stores ended and is started again.', thrown)
    setTimeout(() => startKeeper(host, log), keeperRestartMs).unref()
  })
}
