/**
 * Every limit that a function version runs under, and where each comes from. A pure table over `LIMITS`, `MODULE_LIMITS` and
 * the version's record; a limit that is added to these is in it by itself, unless it is named as none of a function's.
 */

import type { VersionView } from '../../protocol/api.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { MODULE_LIMITS } from '../../wasm/limits.ts'
import { limitName, unitOf, type LimitUnit } from './limit-name.ts'

export type LimitKey = keyof typeof LIMITS

/** Who decides the value: edgefn by default, the version, its quotas, an option of the node, or nobody (`fixed`). */
export type LimitSource = 'default' | 'version' | 'quota' | 'node option' | 'fixed'

export interface EffectiveLimit {
  readonly name: string
  /** Null: there is none. */
  readonly value: number | null
  readonly unit: LimitUnit
  readonly source: LimitSource
  /** The flag that changes it, of `edgefn deploy` or, for a node option, of `edgefn edge`; null where none does. */
  readonly flag: string | null
  /** What the value holds for. */
  readonly per: string
  /** What happens beyond it. */
  readonly beyond: string
}

/** Limits of edgefn that are not about running a function, or that are bounds or parts of others shown here. */
const NOT_SHOWN: ReadonlySet<LimitKey> = new Set([
  'memoryPagesMin',
  'memoryPagesMax',
  'memoryPagesDefault',
  'executionMsMin',
  'executionMsMax',
  'executionMsDefault',
  'queueWaitMsMin',
  'queueWaitMsMax',
  'codeBytesPerModuleByte',
  'formBytesMax',
  'threadIdleMsMax',
  'codeBytesPerCompiledByte',
  'compileBytesMax',
  'compileSecondsFirstMax',
  'compileSecondsFullMax',
  'compiledBytesMax',
  'instanceCodeBytesPerModuleByte',
  'instanceBytesFixed',
  'apiBodyBytesMax',
  'mqttPacketBytesMax',
  'cacheBytesMax',
  'cacheFilesMax',
  'fetchAttemptsMax',
  'backoffMsMin',
  'backoffMsMax',
  'heartbeatMsDefault',
  'uploadUrlSecondsMax',
  'downloadUrlSecondsMax',
  'nodeTokenSecondsMax',
  'joinTokenSecondsDefault',
  'joinTokenSecondsMax',
  'routesMax',
  'routePathCharsMax',
  'routeHostCharsMax',
  'functionsMax',
  'armsMax',
  'splitVersionsMax',
  'stickyNameCharsMax',
  'previewTokenSecondsMin',
  'previewTokenSecondsDefault',
  'previewTokenSecondsMax',
  'previewsMax',
  'previewIdleMsMin',
  'previewIdleMsMax',
  'guestSeriesShownMax',
  'workerMemoryBytesDefault',
  'executorThreadsDefault',
  'executorThreadsMax',
  'inlineWastedMsMax',
  'inlineWasteHalfMs',
  'inlineStackBytesMin',
  'pageRowsMax',
  'pageRowsDefault',
])

type Fixed = Pick<EffectiveLimit, 'per' | 'beyond'> &
  Partial<Pick<EffectiveLimit, 'source' | 'flag'>>

const OPENS = '503 circuit_open'

/** What is known of limits with one value for all functions; of others only name, unit and value are told. */
const FIXED: { readonly [K in LimitKey]?: Fixed } = {
  requestBodyBytesMax: {
    per: 'request',
    beyond: '413 body_too_large',
    source: 'node option',
    flag: '--request-body-size',
  },
  responseBodyBytesMax: { per: 'response', beyond: '502 invalid_response' },
  responseHeadersMax: { per: 'response', beyond: '502 invalid_response' },
  responseHeaderBytesMax: { per: 'response', beyond: '502 invalid_response' },
  logMessageBytesMax: { per: 'log message', beyond: 'cut off' },
  logMessagesPerSecondMax: { per: 'function and node', beyond: 'dropped and counted' },
  stackBytesMax: { per: 'call', beyond: '500 stack_overflow' },
  moduleBytesMax: { per: 'version', beyond: '413 at upload' },
  poolInstancesMin: { per: 'version and worker', beyond: 'kept when idle' },
  poolInstancesMax: { per: 'version and worker', beyond: 'calls wait' },
  poolIdleMsMax: { per: 'hot instance', beyond: 'given up' },
  functionCodeBytesMax: { per: 'version and worker', beyond: 'runs on fewer threads' },
  inlineProofCallsMin: { per: 'version and worker', beyond: 'may run on the HTTP thread' },
  inlineMeanMsMax: { per: 'version on the HTTP thread', beyond: 'back to executor threads' },
  inlineSlowMs: { per: 'call on the HTTP thread', beyond: 'counts as slow' },
  inlineMsMax: { per: 'call on the HTTP thread', beyond: 'run again on an executor thread' },
  inlineWallMsMax: {
    per: 'the same without a processor',
    beyond: 'run again on an executor thread',
  },
  inlinePauseMsMin: { per: 'first such call', beyond: 'may prove itself again' },
  inlinePauseMsMax: { per: 'any such call', beyond: 'may prove itself again' },
  inlineForgivenCalls: { per: 'version on the HTTP thread', beyond: 'earlier ones forgotten' },
  inlineCodeBytesMax: { per: 'version', beyond: 'runs on executor threads only' },
  sleepingThreadsMax: { per: 'worker', beyond: 'count as busy' },
  sleepingThreadsPerFunctionMax: { per: 'version and worker', beyond: 'count as busy' },
  processInstancesMax: { per: 'worker', beyond: 'least recently used go' },
  queueRequestsMax: { per: 'worker', beyond: '503 overloaded' },
  queueFunctionRequestsMax: { per: 'version and worker', beyond: '503 overloaded' },
  workerDeathsMax: { per: 'version and node, in the window', beyond: '503 function_quarantined' },
  workerDeathsWindowMs: { per: 'version and node', beyond: 'forgotten' },
  quarantineMsMin: { per: 'first quarantine', beyond: 'runs again' },
  quarantineMsMax: { per: 'any quarantine', beyond: 'runs again' },
  suspectWaitMsMin: { per: 'call of a suspect, at first', beyond: 'runs beside others' },
  suspectWaitMsMax: { per: 'call of a suspect', beyond: 'runs beside others' },
  breakerWindowMs: { per: 'function and node', beyond: 'forgotten' },
  breakerCallsMin: { per: 'function and node, in the window', beyond: 'the breaker judges' },
  breakerFailurePercent: { per: 'function and node, in the window', beyond: OPENS },
  breakerOpenMsMin: { per: 'first opening', beyond: 'probes' },
  breakerOpenMsMax: { per: 'any opening', beyond: 'probes' },
  breakerProbesMax: { per: 'opening', beyond: 'closes when all succeed' },
  breakerProbeRetryMs: { per: 'call beside the probes', beyond: 'worth another try' },
  variablesMax: { per: 'version', beyond: '400 at registration' },
  variableNameCharsMax: { per: 'variable', beyond: '400 at registration' },
  variableValueCharsMax: { per: 'variable', beyond: '400 at registration' },
  httpAllowMax: { per: 'version', beyond: '400 at registration' },
  httpAllowCharsMax: { per: 'pattern of --allow-http', beyond: '400 at registration' },
}

/** The same by how the limit is called, for limits of one host function. */
const BY_PREFIX: readonly (readonly [string, Fixed])[] = [
  ['fetchLoops', { per: 'request that functions pass on', beyond: 'an error to the guest' }],
  ['fetchIdle', { per: 'connection of http_fetch that waits for the next', beyond: 'closed' }],
  ['fetch', { per: 'http_fetch', beyond: 'an error to the guest' }],
  ['kv', { per: 'kv_*', beyond: 'an error to the guest' }],
  ['guest', { per: 'metrics_increment', beyond: 'an error to the guest' }],
]

/** What only operators meet, by the words that name it: no version runs under these. */
const OF_THE_FLEET = /^(?:telemetry|latencyBuckets|rollout|command|isolate|logLevel)/

/** All limits of a version, those that it decides itself first. */
export function effectiveLimits(version: VersionView): EffectiveLimit[] {
  const keys = Object.keys(LIMITS) as LimitKey[]
  return [
    ...versionLimits(version),
    ...quotaLimits(version),
    ...nodeLimits(version),
    ...keys.filter((key) => !NOT_SHOWN.has(key) && !OF_THE_FLEET.test(key)).map(fixedLimit),
    ...moduleLimits(),
  ]
}

/** Limits of `MODULE_LIMITS` that another one shown here stands for. */
const MODULE_NOT_SHOWN: ReadonlySet<string> = new Set(['moduleBytesMax', 'memoryPagesMax'])

/** What a module may have when it is taken in. */
function moduleLimits(): EffectiveLimit[] {
  return Object.entries(MODULE_LIMITS)
    .filter(([key]) => !MODULE_NOT_SHOWN.has(key) && key.endsWith('Max'))
    .map(([key, value]) => ({
      ...{ name: `module_${limitName(key)}`, value, unit: unitOf(key), source: 'fixed' },
      ...{ flag: null, per: 'module', beyond: '400 at upload' },
    }))
}

function versionLimits({ memory_pages, max_execution_ms }: VersionView): EffectiveLimit[] {
  return [
    {
      name: 'memory_pages',
      value: memory_pages,
      unit: 'pages',
      source: memory_pages === LIMITS.memoryPagesDefault ? 'default' : 'version',
      flag: '--memory-pages',
      per: 'instance, pages of 64 KiB',
      beyond: 'memory.grow gives -1; 500 memory_limit',
    },
    {
      name: 'max_execution_ms',
      value: max_execution_ms,
      unit: 'ms',
      source: max_execution_ms === LIMITS.executionMsDefault ? 'default' : 'version',
      flag: '--max-execution-ms',
      per: 'call, from its beginning',
      beyond: '504 execution_timeout',
    },
  ]
}

function quotaLimits({ quotas }: VersionView): EffectiveLimit[] {
  const { concurrency, requests_per_second: rate, burst, queue_wait_ms } = quotas
  const given = (value: number | null) => (value === null ? 'default' : 'quota')
  const quota = { per: 'function and node', beyond: '429 rate_limited' }
  return [
    {
      ...{ name: 'concurrency', value: concurrency, unit: 'calls', source: given(concurrency) },
      ...{ flag: '--concurrency', ...quota },
    },
    {
      ...{ name: 'requests_per_second', value: rate, unit: 'per second', source: given(rate) },
      ...{ flag: '--rps', ...quota },
    },
    {
      name: 'burst',
      // Without one, as many as come in a second.
      value: rate === null ? null : (burst ?? Math.max(Math.ceil(rate), 1)),
      ...{ unit: 'requests', source: given(burst), flag: '--burst', ...quota },
    },
    {
      ...{ name: 'queue_wait_ms', value: queue_wait_ms ?? LIMITS.queueWaitMsMax, unit: 'ms' },
      ...{ source: given(queue_wait_ms), flag: '--queue-wait-ms' },
      ...{ per: 'call, from its admission to its beginning', beyond: '503 overloaded' },
    },
  ]
}

/** Limits that nodes decide. The control plane does not know their options, so the defaults are told. */
function nodeLimits({ size_bytes }: VersionView): EffectiveLimit[] {
  const byCode =
    size_bytes === null
      ? Number.POSITIVE_INFINITY
      : LIMITS.functionCodeBytesMax / (size_bytes * LIMITS.codeBytesPerModuleByte)
  const byThreads = LIMITS.executorThreadsDefault - 1
  return [
    {
      name: 'calls_at_once',
      value: Math.max(Math.min(Math.floor(byCode), byThreads), 1),
      unit: 'calls',
      source: byCode < byThreads ? 'version' : 'node option',
      flag: byCode < byThreads ? null : '--executor-threads',
      per: 'version and worker',
      beyond: 'calls wait',
    },
    {
      name: 'pool_memory_bytes',
      // Less on a small machine: at most a quarter of it for all workers.
      value: LIMITS.workerMemoryBytesDefault / 2,
      unit: 'bytes',
      source: 'node option',
      flag: '--pool-memory',
      per: 'worker, hot instances of all functions',
      beyond: 'least recently used go above 80 %',
    },
    {
      name: 'worker_memory_bytes',
      value: LIMITS.workerMemoryBytesDefault,
      unit: 'bytes',
      source: 'node option',
      flag: '--worker-memory',
      per: 'worker',
      beyond: 'the worker is replaced; its calls break off',
    },
  ]
}

function fixedLimit(key: LimitKey): EffectiveLimit {
  const known = FIXED[key] ?? BY_PREFIX.find(([prefix]) => key.startsWith(prefix))?.[1]
  return {
    ...{ name: limitName(key), value: LIMITS[key], unit: unitOf(key) },
    ...{ source: 'fixed', flag: null, per: '-', beyond: '-', ...known },
  }
}
