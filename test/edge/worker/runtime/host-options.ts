/** What host functions need to be told, in a directory of a test. */

import { join } from 'node:path'

import type { HostOptions } from '../../../../src/edge/worker/host/host.ts'

export function hostOptionsIn(dir: string): HostOptions {
  return {
    kv_dir: join(dir, 'kv'),
    sql_dir: join(dir, 'sql'),
    guest_metrics_dir: dir,
    log: { level: 'error', pretty: false, fields: {} },
  }
}
