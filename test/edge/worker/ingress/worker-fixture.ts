/** A worker process whose functions live in memory: `/slow` waits for a second, everything else answers its process id. */

import { workerOptionsSchema } from '../../../../src/edge/ipc.ts'
import { QuotaFile } from '../../../../src/edge/quota.ts'
import { BreakerFile } from '../../../../src/edge/breaker-file.ts'
import { createGuard } from '../../../../src/edge/worker/admit/guard.ts'
import { createAdmission } from '../../../../src/edge/worker/admit/admission.ts'
import { StatsFile } from '../../../../src/edge/stats.ts'
import { VerdictFile } from '../../../../src/edge/verdicts.ts'
import { createAgentLink } from '../../../../src/edge/worker/agent-link.ts'
import { WorkerService } from '../../../../src/edge/worker/service.ts'
import { EdgefnError } from '../../../../src/errors.ts'
import { createLog } from '../../../../src/telemetry/log.ts'
import { answered, inMemoryInvoker } from './harness.ts'

const options = workerOptionsSchema.parse(JSON.parse(process.argv[2] ?? 'null'))
const log = createLog({ component: 'edge-worker', level: options.log_level, pretty: false })
const link = createAgentLink(log)
const { invoker } = inMemoryInvoker(async (fn, request) => {
  if (request.target === '/slow') await Bun.sleep(1000)
  return answered(`${process.pid} ${fn.path}`)
})
const picky = {
  ...invoker,
  prepare: async (fn: { entrypoint: string }) => {
    if (fn.entrypoint === 'missing')
      throw new EdgefnError('function_load_failed', 'No such export.')
  },
}
const stats = new StatsFile(options.stats_path)
const quotas = new QuotaFile(options.quotas_path, options.workers)
const admission = createAdmission({
  quotas,
  worker: options.index,
  nowMs: () => performance.now(),
})
const guard = createGuard({
  verdicts: new VerdictFile(options.verdicts_path),
  breakers: new BreakerFile(options.breakers_path),
  now: Date.now,
})
const worker = new WorkerService({
  options,
  link,
  log,
  stats,
  quotas,
  admission,
  guard,
  invoker: picky,
  engine: 'in-memory',
  nowMs: () => performance.now(),
})
worker.open()
process.exit(await worker.ended())
