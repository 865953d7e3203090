/** `edgefn metrics` and `edgefn nodes metrics`. */

import { defaulted, optional } from '../../config/option.ts'
import { duration, matching } from '../../config/values.ts'
import { nodeIdSchema } from '../../protocol/ids.ts'
import {
  functionMetricsSchema,
  nodeMetricsSchema,
  type CallFigures,
  type FunctionMetrics,
} from '../../protocol/telemetry.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command } from '../command.ts'
import { connect } from '../connect.ts'
import { versionNumber } from '../deploy/version-words.ts'
import { EXIT } from '../exit.ts'
import { bytesText, printJson, printList, timeText } from '../output.ts'

const RANGE_OPTIONS = {
  since: defaulted(duration('1s', '100d'), '1h', {
    placeholder: 'TIME',
    help: 'how far back',
  }),
  step: optional(duration('1s', '100d'), {
    placeholder: 'TIME',
    help: 'what each row sums up; default: a sixtieth of the time',
  }),
} as const

export const metrics = command({
  name: 'metrics',
  summary: 'show requests, errors and latencies of a function by version',
  args: [{ name: 'FUNCTION', help: 'name or id of a function', count: 'one' }],
  options: {
    version: optional(versionNumber, {
      placeholder: 'VERSION',
      help: 'only this one, such as v42',
    }),
    node: optional(matching(nodeIdSchema), { placeholder: 'ID', help: 'only on this node' }),
    ...RANGE_OPTIONS,
    ...CLIENT_OPTIONS,
  },
  notes: [
    'Without --step one row per version, with it one per step. Latencies are estimates from histograms.',
  ],
  async run({ values, args: [name = ''], terminal }) {
    const path = `/functions/${encodeURIComponent(name)}/metrics`
    const query = { ...rangeQuery(values), version: values.version, node: values.node }
    const found = await connect(values).get(path, functionMetricsSchema, query)
    if (values.output === 'json') {
      printJson(terminal, found)
      return EXIT.ok
    }
    const rows = values.step === null ? totalRows(found) : pointRows(found)
    printList(terminal, values.output, rows, {
      ...(values.step === null ? {} : { TIME: (row: Row) => timeText(row.at) }),
      VERSION: (row) => `v${row.version}`,
      REQUESTS: (row) => String(row.requests),
      FAULTS: (row) => String(row.server_faults),
      'FAULT RATE': (row) => shareText(row.server_faults, row.requests),
      'P50 MS': (row) => msText(row.p50_ms),
      'P95 MS': (row) => msText(row.p95_ms),
      'P99 MS': (row) => msText(row.p99_ms),
      ERRORS: (row) =>
        Object.entries(row.errors)
          .map(([code, count]) => `${code}:${count}`)
          .join(' ') || '-',
    })
    return EXIT.ok
  },
})

interface Row extends CallFigures {
  readonly at: string
  readonly version: number
}

function totalRows({ from, versions }: FunctionMetrics): Row[] {
  return versions.map(({ version, totals }) => ({ at: from, version, ...totals }))
}

function pointRows({ versions }: FunctionMetrics): Row[] {
  return versions
    .flatMap(({ version, points }) => points.map((point) => ({ version, ...point })))
    .toSorted((one, other) => one.at.localeCompare(other.at))
}

export const nodesMetrics = command({
  name: 'nodes metrics',
  summary: 'show how a node was: processor, memory, disk, pools, requests',
  args: [{ name: 'NODE', help: 'id of a node', count: 'one' }],
  options: { ...RANGE_OPTIONS, ...CLIENT_OPTIONS },
  async run({ values, args: [id = ''], terminal }) {
    const path = `/nodes/${encodeURIComponent(id)}/metrics`
    const found = await connect(values).get(path, nodeMetricsSchema, rangeQuery(values))
    if (values.output === 'json') {
      printJson(terminal, found)
      return EXIT.ok
    }
    printList(terminal, values.output, found.points, {
      TIME: (item) => timeText(item.at),
      REQUESTS: (item) => String(item.requests),
      FAULTS: (item) => String(item.server_faults),
      'CPU %': (item) => numberText(item.cpu_percent),
      'CPU MAX': (item) => numberText(item.cpu_percent_max),
      MEMORY: (item) => sizeText(item.mem_bytes),
      'DISK FREE': (item) => sizeText(item.disk_free_bytes_min),
      CACHE: (item) => sizeText(item.cache_bytes),
      INSTANCES: (item) => String(item.pool_instances ?? '-'),
      QUEUE: (item) => String(item.queue_max ?? '-'),
      WORKERS: (item) => String(item.workers_min ?? '-'),
    })
    if (found.dropped_batches > 0) {
      terminal.err(`the node dropped ${found.dropped_batches} batches in this time\n`)
    }
    return EXIT.ok
  },
})

function rangeQuery({ since, step }: { readonly since: number; readonly step: number | null }) {
  return {
    // By the control plane's clock, which need not agree with the one here.
    since: Math.ceil(since / 1000),
    step: step === null ? null : Math.ceil(step / 1000),
  }
}

function shareText(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(2)} %`
}

function msText(ms: number | null): string {
  return ms === null ? '-' : ms.toFixed(2)
}

function numberText(value: number | null): string {
  return value === null ? '-' : value.toFixed(1)
}

function sizeText(bytes: number | null): string {
  return bytes === null ? '-' : bytesText(bytes)
}
