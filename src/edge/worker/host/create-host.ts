/** Makes what the host functions of one executor thread share. */

import type { Libc } from '../../../../ffi/libc.ts'
import type { GuestMemory } from '../../../../ffi/memory.ts'
import { createLog } from '../../../telemetry/log.ts'
import type { Log } from '../../../telemetry/log.ts'
import { GuestMetrics } from './guest-metrics.ts'
import type { Host, HostOptions } from './host.ts'
import { KvStores } from './kv/open-stores.ts'
import { NodeLog } from './node-log.ts'
import { SqlDatabases } from './sql/open-databases.ts'

/** Opens nothing yet: a thread has files only of functions that use them. */
export function createHost(options: HostOptions, libc: Libc, memory: GuestMemory): Host {
  const nowMs = libc.monotonicMs
  const log = new NodeLog(hostLog(options), nowMs)
  const host: Host = {
    libc,
    memory,
    kv: new KvStores({
      ...{ dir: options.kv_dir, log, nowMs },
      sleeping: (leftMs, wait) => host.sleeping(leftMs, wait),
    }),
    sql: new SqlDatabases({
      ...{ dir: options.sql_dir, log, libc },
      sleeping: (leftMs, wait) => host.sleeping(leftMs, wait),
    }),
    metrics: new GuestMetrics(options.guest_metrics_dir, log),
    current: null,
    fetchLine: null,
    stopped: () => false,
    sleeping: (_leftMs, wait) => wait(),
    maySleep: true,
  }
  return host
}

/** The log of a thread, which has no part in that of its process. */
export function hostLog({ log }: HostOptions): Log {
  return createLog({ component: 'edge-worker', ...log })
}
