/** A process that adds so often to the counter `shared` of a function, as an executor thread does. */

import { writeSync } from 'node:fs'

import { GuestMetrics } from '../../src/edge/worker/host/guest-metrics.ts'
import { NodeLog } from '../../src/edge/worker/host/node-log.ts'
import { createLog } from '../../src/telemetry/log.ts'

const [dir = '', functionId = '', count = '0'] = process.argv.slice(2)
const log = new NodeLog(createLog({ component: 'test', level: 'error' }), () => 0)
const metrics = new GuestMetrics(dir, log)
const name = Buffer.from('shared')
const none = new Uint8Array(0)
for (let n = 0; n < Number(count); n += 1) {
  const result = metrics.increment(functionId, name, none, 1)
  if (result !== 0) throw new Error(`The increment was refused: ${result}.`)
}
writeSync(1, 'done\n')
