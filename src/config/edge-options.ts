/** Options of `edgefn edge`, and the complete EdgeConfig made of their values. */

import { availableParallelism, totalmem } from 'node:os'

import { nodeIdSchema, popIdSchema } from '../protocol/ids.ts'
import { LIMITS } from '../protocol/limits.ts'
import { LOG_LEVELS } from '../telemetry/log.ts'
import { FILE_OPTION } from './load.ts'
import type { EdgeConfig } from './modes.ts'
import { MQTT_ACCOUNT_OPTIONS, mqttAccount } from './mqtt-options.ts'
import { defaulted, optional, repeated, required, type Options, type Values } from './option.ts'
import {
  address,
  addressRange,
  choice,
  duration,
  integer,
  matching,
  onOff,
  path,
  size,
  text,
  url,
} from './values.ts'

const MIB = 2 ** 20
const workersMax = 256

export const EDGE_OPTIONS = {
  pop: required(matching(popIdSchema), {
    placeholder: 'POP',
    help: 'the point of presence this node stands in',
  }),
  cp: defaulted(url('http', 'https'), 'http://127.0.0.1:8080', {
    placeholder: 'URL',
    help: 'the control plane',
  }),
  token: optional(text, {
    placeholder: 'TOKEN',
    help: 'join token, needed the first time only (edgefn token create)',
    secret: true,
  }),
  'data-dir': defaulted(path, 'edgefn-data/edge', {
    placeholder: 'DIR',
    help: 'credentials and cached modules',
  }),
  'node-id': optional(matching(nodeIdSchema), {
    placeholder: 'ID',
    help: 'default: the control plane names the node',
  }),
  listen: defaulted(address, '0.0.0.0:8787', { placeholder: 'ADDR', help: 'functions' }),
  'metrics-listen': defaulted(address, '127.0.0.1:9090', {
    placeholder: 'ADDR',
    help: '/metrics, /health and /ready',
  }),
  workers: optional(integer(1, workersMax), {
    placeholder: 'N',
    help: 'worker processes; default: one per core',
  }),
  'executor-threads': defaulted(
    integer(1, LIMITS.executorThreadsMax),
    String(LIMITS.executorThreadsDefault),
    {
      placeholder: 'N',
      help: 'threads per worker that functions share; one that runs nowhere gets one on top',
    },
  ),
  compile: defaulted(onOff, 'on', {
    placeholder: 'on|off',
    help: 'off: functions stay interpreted',
  }),
  'spare-worker': defaulted(onOff, 'on', {
    placeholder: 'on|off',
    help: 'keep one more worker started, so that one that dies is replaced at once',
  }),
  mqtt: defaulted(onOff, 'on', { placeholder: 'on|off', help: 'off: poll the control plane only' }),
  ...MQTT_ACCOUNT_OPTIONS,
  'heartbeat-interval': defaulted(duration('100ms', '1h'), `${LIMITS.heartbeatMsDefault / 1000}s`, {
    placeholder: 'TIME',
    help: 'how often the node reports',
  }),
  'sync-interval': defaulted(duration('100ms', '1h'), '30s', {
    placeholder: 'TIME',
    help: 'how often the node asks for its plan when nothing is announced',
  }),
  'telemetry-interval': defaulted(duration('100ms', '1h'), `${LIMITS.telemetryMsDefault / 1000}s`, {
    placeholder: 'TIME',
    help: 'how often the node uploads what it counted',
  }),
  'cache-size': defaulted(size(MIB), `${LIMITS.cacheBytesMax / 2 ** 30}GiB`, {
    placeholder: 'SIZE',
    help: 'bytes of cached modules, at most',
  }),
  'cache-files': defaulted(integer(1, 1_000_000), String(LIMITS.cacheFilesMax), {
    placeholder: 'N',
    help: 'cached modules, at most',
  }),
  'request-body-size': defaulted(size(), `${LIMITS.requestBodyBytesMax / MIB}MiB`, {
    placeholder: 'SIZE',
    help: 'bytes of a request body, at most; 413 beyond',
  }),
  'pool-memory': optional(size(MIB), {
    placeholder: 'SIZE',
    help: 'hot instances of a worker; default: half of worker-memory, at most a quarter of the machine over all workers',
  }),
  'fetch-allow-private': repeated(addressRange, {
    placeholder: 'CIDR',
    help: 'addresses that http_fetch may reach although they are not public; default: none',
  }),
  'worker-memory': defaulted(size(128 * MIB), `${LIMITS.workerMemoryBytesDefault / 2 ** 30}GiB`, {
    placeholder: 'SIZE',
    help: 'resident bytes at which a worker is replaced',
  }),
  'worker-cgroup': defaulted(groupPlace, 'auto', {
    placeholder: 'DIR',
    help: 'control group in which the kernel holds each worker to worker-memory; auto: the own one if nothing else runs in it; off',
  }),
  'memory-reserve': optional(size(), {
    placeholder: 'SIZE',
    help: 'free memory below which hot instances are given up, and below half of which none are started; default: a tenth, at most 1GiB',
  }),
  'log-level': defaulted(choice(...LOG_LEVELS), 'info', {
    placeholder: 'LEVEL',
    help: LOG_LEVELS.join(', '),
  }),
  ...FILE_OPTION,
} as const satisfies Options

/** The configuration of an edge node. Throws `invalid_config` when options do not go together. */
export function edgeConfig(values: Values<typeof EDGE_OPTIONS>): EdgeConfig {
  const workers = values.workers ?? Math.min(availableParallelism(), workersMax)
  return {
    pop: values.pop,
    cp: values.cp,
    token: values.token,
    data_dir: values['data-dir'],
    node_id: values['node-id'],
    listen: values.listen,
    metrics_listen: values['metrics-listen'],
    workers,
    executor_threads_max: values['executor-threads'],
    compile: values.compile,
    spare_worker: values['spare-worker'],
    mqtt: values.mqtt,
    mqtt_account: mqttAccount(values),
    heartbeat_ms: values['heartbeat-interval'],
    sync_ms: values['sync-interval'],
    telemetry_ms: values['telemetry-interval'],
    cache_bytes_max: values['cache-size'],
    cache_files_max: values['cache-files'],
    request_body_bytes_max: values['request-body-size'],
    pool_bytes_max: values['pool-memory'] ?? poolBytes(values['worker-memory'], workers),
    fetch_allow_private: values['fetch-allow-private'],
    worker_memory_bytes_max: values['worker-memory'],
    worker_cgroup: values['worker-cgroup'],
    memory_reserve_bytes: values['memory-reserve'],
    log_level: values['log-level'],
  }
}

function groupPlace(value: string): string {
  return value === 'auto' || value === 'off' ? value : path(value)
}

/** Instances get half of what a worker may take, as long as all workers together keep to a quarter of the machine. */
function poolBytes(workerBytes: number, workers: number): number {
  const machineBytes = Math.min(totalmem(), process.constrainedMemory())
  return Math.floor(Math.min(workerBytes / 2, machineBytes / 4 / workers))
}
