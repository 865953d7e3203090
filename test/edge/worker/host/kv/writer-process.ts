/** A process that stores keys `<prefix><n>`, n from 0, in a function's store and prints each n once it is acknowledged. */

import { writeSync } from 'node:fs'

import { openLibc } from '../../../../../ffi/libc.ts'
import { NodeLog } from '../../../../../src/edge/worker/host/node-log.ts'
import { KvStores, KvUnavailable } from '../../../../../src/edge/worker/host/kv/open-stores.ts'
import { createLog } from '../../../../../src/telemetry/log.ts'

const [dir = '', functionId = '', prefix = '', count = '0', valueBytes = '10'] =
  process.argv.slice(2)
const { monotonicMs: nowMs } = openLibc()
const write = () => {}
const log = new NodeLog(createLog({ component: 'test', level: 'error', write }), nowMs)
const stores = new KvStores({ dir, log, nowMs, sleeping: (_leftMs, wait) => wait() })
const value = new Uint8Array(Number(valueBytes)).fill(7)

for (let n = 0; n < Number(count); n += 1) {
  const call = {}
  const giveUpAt = nowMs() + 20_000
  const key = new TextEncoder().encode(`${prefix}${n}`)
  const leftMs = () => giveUpAt - nowMs()
  try {
    stores.use(functionId, call, { leftMs }, (store) => {
      if (!store.put(key, value, null, Date.now(), () => false))
        throw new Error('The share is full.')
    })
    writeSync(1, `${n}\n`)
  } catch (thrown) {
    if (!(thrown instanceof KvUnavailable)) throw thrown
    writeSync(1, 'unavailable\n')
  }
}
stores.close()
writeSync(1, 'done\n')
