/** What `/metrics` of the node shows: the workers' statistics summed, and the state of the agent (SPEC 9) [R8]. */

import type { MetricJson } from '../../telemetry/metrics.ts'
import { LATENCY_BUCKETS, renderMetrics, Registry } from '../../telemetry/metrics.ts'
import { DISPATCH_BUCKETS, DISPATCH_PARTS, FETCH_OUTCOMES } from '../stats.ts'
import { COMPILE_LEVELS } from '../compiled.ts'
import type { HistogramTotals, StatCell, StatsFile, Tally, WorkerStatCell } from '../stats.ts'
import type { HealthFigures } from './blame/health-metrics.ts'
import { healthMetrics } from './blame/health-metrics.ts'
import type { CompileCounts } from './compile/compiler.ts'
import {
  cumulativeBuckets,
  dispatchTotals,
  functionTotals,
  sumWorkerCell,
  type VersionTotals,
} from './statistics.ts'

type Values = MetricJson['values']
type Labels = Values[number]['labels']

/** State of the agent at the time of a scrape. */
export interface AgentFigures {
  readonly node_id: string
  readonly pop_id: string
  readonly version: string
  readonly workers: number
  readonly worker_restarts: readonly number[]
  readonly revision: number
  readonly syncs: { readonly succeeded: number; readonly failed: number }
  readonly cp_connected: boolean
  readonly mqtt_connected: boolean
  readonly cache: { readonly bytes: number; readonly files: number }
  /** Null when the node does not compile. */
  readonly compiles: CompileCounts | null
  readonly compiled: { readonly bytes: number; readonly files: number }
  readonly cpu_seconds: number
  readonly resident_bytes: number
  readonly memory_pressure: number
  /** Batches that wait for the control plane's acknowledgement, and those dropped since the start. */
  readonly telemetry: { readonly batches: number; readonly bytes: number; readonly dropped: number }
}

interface AgentMetricsDeps {
  readonly stats: readonly StatsFile[]
  /** Functions that are on the node, with what was counted of them so far. */
  functions(): Iterable<readonly [string, Tally]>
  /** The same of their versions. */
  versions(): Iterable<VersionTotals>
  figures(): AgentFigures
  health(): HealthFigures
  /** The counters of the functions' guests, and what these keep on the disk. */
  guestMetrics(functionIds: readonly string[]): MetricJson[]
}

export interface AgentMetrics {
  render(): Promise<{ contentType: string; text: string }>
}

export function createAgentMetrics(deps: AgentMetricsDeps): AgentMetrics {
  const registry = new Registry()
  return {
    render: () => {
      const functions = [...deps.functions()]
      const figures = deps.figures()
      const metrics = [
        ...invocationMetrics(functions),
        ...functionSums(functions),
        ...versionSums(deps.versions()),
        ...workerSums(deps.stats),
        dispatchMetric(deps.stats),
        ...deps.guestMetrics(functions.map(([functionId]) => functionId)),
        fetchSums(deps.stats),
        ...agentMetrics(figures),
        ...telemetryMetrics(figures),
        ...healthMetrics(deps.health()),
      ]
      return renderMetrics(registry, metrics)
    },
  }
}

type Tallies = readonly (readonly [string, Tally])[]

function metric(name: string, type: MetricJson['type'], help: string, values: Values): MetricJson {
  return { name, type, help, aggregator: 'sum', values }
}

function invocationMetrics(functions: Tallies): MetricJson[] {
  const counts: Values[number][] = []
  const errors: Values[number][] = []
  const latencies: Values[number][] = []
  for (const [function_id, tally] of functions) {
    const totals = functionTotals(tally)
    counts.push({ value: totals.invocations, labels: { function_id } })
    for (const [code, value] of totals.errors) errors.push({ value, labels: { function_id, code } })
    latencies.push(
      ...histogram(
        'wasm_invoke_latency_seconds',
        LATENCY_BUCKETS,
        { function_id },
        {
          seconds_sum: totals.latency_seconds_sum,
          count: totals.latency_count,
          buckets: cumulativeBuckets(tally),
        },
      ),
    )
  }
  return [
    metric(
      'wasm_invoke_count_total',
      'counter',
      'Calls of a function, however they ended.',
      counts,
    ),
    metric('wasm_invoke_errors_total', 'counter', 'Calls that failed, by error code.', errors),
    metric(
      'wasm_invoke_latency_seconds',
      'histogram',
      'Time of a call from routing to response.',
      latencies,
    ),
  ]
}

/** The samples of a histogram whose buckets are cumulative. */
function histogram(
  name: string,
  limits: readonly number[],
  labels: Labels,
  { seconds_sum, count, buckets }: HistogramTotals,
): Values[number][] {
  const metricName = `${name}_bucket`
  return [
    ...limits.map((le, index) => ({
      value: buckets[index] ?? 0,
      labels: { le, ...labels },
      metricName,
    })),
    { value: count, labels: { le: '+Inf', ...labels }, metricName },
    { value: seconds_sum, labels, metricName: `${name}_sum` },
    { value: count, labels, metricName: `${name}_count` },
  ]
}

function dispatchMetric(stats: readonly StatsFile[]): MetricJson {
  const name = 'edgefn_dispatch_seconds'
  const values = DISPATCH_PARTS.flatMap((part) =>
    histogram(name, DISPATCH_BUCKETS, { part }, dispatchTotals(stats, part)),
  )
  const help = 'Time of a request outside its guest: from read to entered, from left to response.'
  return metric(name, 'histogram', help, values)
}

const FUNCTION_SUMS: readonly (readonly [StatCell, string, MetricJson['type'], string])[] = [
  ['cold_starts', 'edgefn_cold_starts_total', 'counter', 'Instances made while a request waited.'],
  ['in_flight', 'edgefn_in_flight', 'gauge', 'Calls running now.'],
  ['instances', 'edgefn_pool_instances', 'gauge', 'Instances alive in the pools.'],
  [
    'instance_bytes',
    'edgefn_pool_memory_bytes',
    'gauge',
    'Linear memory of those instances, touched or not; --pool-memory counts what was touched when it is short.',
  ],
  ['log_messages', 'edgefn_log_messages_total', 'counter', 'Log messages of the function.'],
  [
    'log_messages_dropped',
    'edgefn_log_messages_dropped_total',
    'counter',
    'Log messages over the rate limit.',
  ],
  ['request_bytes', 'edgefn_request_bytes_total', 'counter', 'Bytes of request bodies.'],
  ['response_bytes', 'edgefn_response_bytes_total', 'counter', 'Bytes of response bodies.'],
  ['cache_hits', 'wasm_cache_hits_total', 'counter', 'Modules taken from the local cache.'],
  ['cache_misses', 'wasm_cache_misses_total', 'counter', 'Modules fetched for a request.'],
  [
    'server_errors',
    'edgefn_server_errors_total',
    'counter',
    'Answers of 500 and above that the function gave itself.',
  ],
]

function functionSums(functions: Tallies): MetricJson[] {
  return FUNCTION_SUMS.map(([cell, name, type, help]) => {
    const values = functions.map(([function_id, tally]) => ({
      value: tally.get(cell),
      labels: { function_id },
    }))
    return metric(name, type, help, values)
  })
}

/** What tells the versions of a function apart that serve side by side; a version that leaves takes its series with it. */
function versionSums(versions: Iterable<VersionTotals>): MetricJson[] {
  const calls: Values[number][] = []
  const failures: Values[number][] = []
  for (const { function_id, version, invocations, errors, server_errors } of versions) {
    const labels = { function_id, version }
    const failed = errors.values().reduce((sum, count) => sum + count, server_errors)
    calls.push({ value: invocations, labels })
    failures.push({ value: failed, labels })
  }
  return [
    metric('edgefn_version_calls_total', 'counter', 'Calls of a version.', calls),
    metric(
      'edgefn_version_failures_total',
      'counter',
      'Of those, the ones that failed or were answered with 500 and above.',
      failures,
    ),
  ]
}

const WORKER_SUMS: readonly (readonly [WorkerStatCell, string, MetricJson['type'], string])[] = [
  ['requests', 'edgefn_http_requests_total', 'counter', 'HTTP requests of any outcome.'],
  ['unrouted', 'edgefn_http_unrouted_total', 'counter', 'Requests that no route takes.'],
  ['refused', 'edgefn_http_refused_total', 'counter', 'Requests refused before routing.'],
  ['connections_open', 'edgefn_http_connections', 'gauge', 'Open connections.'],
  ['executor_threads', 'edgefn_executor_threads', 'gauge', 'Threads that run guests.'],
  ['queue_length', 'edgefn_queue_length', 'gauge', 'Requests waiting for an executor.'],
  [
    'pool_evictions',
    'edgefn_pool_evictions_total',
    'counter',
    'Idle instances given up for want of memory.',
  ],
  [
    'inline_calls',
    'edgefn_inline_calls_total',
    'counter',
    'Calls that ran on the HTTP thread, because their functions are quick.',
  ],
  [
    'inline_overruns',
    'edgefn_inline_overruns_total',
    'counter',
    'Calls given up there, because they took long or would sleep, and run again on an executor thread.',
  ],
  [
    'guest_stop_defects',
    'edgefn_guest_stop_defects_total',
    'counter',
    'Guests that could not be stopped in time; each costs its worker.',
  ],
]

function workerSums(stats: readonly StatsFile[]): MetricJson[] {
  return WORKER_SUMS.map(([cell, name, type, help]) =>
    metric(name, type, help, [single(sumWorkerCell(stats, cell))]),
  )
}

function fetchSums(stats: readonly StatsFile[]): MetricJson {
  const values = FETCH_OUTCOMES.map((outcome) =>
    single(sumWorkerCell(stats, `fetch_${outcome}`), { outcome }),
  )
  return metric('edgefn_fetch_total', 'counter', 'Calls of http_fetch, by how they ended.', values)
}

function single(value: number, labels: Labels = {}): Values[number] {
  return { value, labels }
}

function telemetryMetrics({ telemetry }: AgentFigures): MetricJson[] {
  return [
    metric(
      'edgefn_telemetry_stored_batches',
      'gauge',
      'Batches of telemetry that the control plane has not acknowledged.',
      [single(telemetry.batches)],
    ),
    metric('edgefn_telemetry_stored_bytes', 'gauge', 'Bytes of those.', [single(telemetry.bytes)]),
    metric(
      'edgefn_telemetry_dropped_batches_total',
      'counter',
      'Batches of telemetry that were over the limits, or refused.',
      [single(telemetry.dropped)],
    ),
  ]
}

function agentMetrics(figures: AgentFigures): MetricJson[] {
  const { node_id, pop_id, version, syncs, cache } = figures
  const gauge = (name: string, help: string, value: number) =>
    metric(name, 'gauge', help, [single(value)])
  return [
    metric('edgefn_node_info', 'gauge', 'Which node this is; always 1.', [
      single(1, { node_id, pop_id, version }),
    ]),
    gauge('edgefn_workers', 'Worker processes that serve.', figures.workers),
    metric(
      'edgefn_worker_restarts_total',
      'counter',
      'Workers replaced, by place.',
      figures.worker_restarts.map((value, worker) => single(value, { worker })),
    ),
    gauge(
      'edgefn_sync_revision',
      'Revision of the desired state that is served.',
      figures.revision,
    ),
    metric('edgefn_sync_total', 'counter', 'Syncs with the control plane, by result.', [
      single(syncs.succeeded, { result: 'success' }),
      single(syncs.failed, { result: 'failure' }),
    ]),
    gauge(
      'edgefn_cp_connected',
      'Whether the control plane answered the last call.',
      Number(figures.cp_connected),
    ),
    gauge(
      'edgefn_mqtt_connected',
      'Whether the broker is connected.',
      Number(figures.mqtt_connected),
    ),
    gauge(
      'edgefn_memory_pressure',
      '0 none, 1 hot instances are given up, 2 no new ones are started.',
      figures.memory_pressure,
    ),
    gauge('edgefn_cache_bytes', 'Bytes of cached artifacts.', cache.bytes),
    metric(
      'edgefn_compilations_total',
      'counter',
      'Compilations of functions, by level and result.',
      compilations(figures.compiles),
    ),
    metric(
      'edgefn_functions',
      'gauge',
      'Functions that are served, by the form in which they run.',
      functionForms(figures.compiles),
    ),
    gauge('edgefn_compiled_bytes', 'Bytes of compiled functions.', figures.compiled.bytes),
    gauge('edgefn_cache_files', 'Cached artifacts.', cache.files),
    metric('process_cpu_seconds_total', 'counter', 'Processor time of the agent.', [
      single(figures.cpu_seconds),
    ]),
    gauge(
      'process_resident_memory_bytes',
      'Resident memory of the agent and its workers.',
      figures.resident_bytes,
    ),
  ]
}

function compilations(counts: CompileCounts | null): Values {
  if (counts === null) return []
  return COMPILE_LEVELS.flatMap((level) => [
    single(counts.compiled[level], { level, result: 'success' }),
    single(counts.failed[level], { level, result: 'failure' }),
  ])
}

function functionForms(counts: CompileCounts | null): Values {
  if (counts === null) return []
  const { served, functions } = counts
  const interpreted = functions - COMPILE_LEVELS.reduce((sum, level) => sum + served[level], 0)
  return [
    single(interpreted, { form: 'interpreted' }),
    ...COMPILE_LEVELS.map((level) => single(served[level], { form: level })),
  ]
}
