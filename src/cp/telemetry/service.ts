/** The telemetry slice: what nodes upload goes in, answers and samples come out, old rows are deleted [C8]. */

import type { FunctionId, NodeId } from '../../protocol/ids.ts'
import type {
  FunctionMetrics,
  FunctionMetricsQuery,
  MetricsQuery,
  NodeMetrics,
  TelemetryAck,
  TelemetryUpload,
} from '../../protocol/telemetry.ts'
import { EdgefnError } from '../../errors.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Database, Sql } from '../db/database.ts'
import { versionFigures } from './calls.ts'
import { TelemetryIntake } from './intake.ts'
import { nodeFigures } from './node-figures.ts'
import { rangeOf, type Range } from './range.ts'
import { TelemetryRetention } from './retention.ts'
import type { Taken } from './store.ts'

export interface TelemetryDeps {
  readonly db: Database
  readonly log: Log
  /** The id of a function by id or name; throws `function_not_found`. */
  readonly resolveFunction: (sql: Sql, idOrName: string) => Promise<{ readonly id: FunctionId }>
  /** Throws `version_not_found`. */
  readonly requireVersion: (sql: Sql, functionId: FunctionId, version: number) => Promise<unknown>
  /** Throws `node_not_found`. */
  readonly requireNode: (nodeId: NodeId) => Promise<unknown>
  readonly count: (taken: Taken) => void
  readonly countDeleted: (rows: number) => void
  /** Unix milliseconds. */
  readonly now: () => number
}

export interface Telemetry {
  /** As `TelemetryIntake.take`; throws `invalid_field` when the upload is of another node. */
  take(nodeId: NodeId, upload: TelemetryUpload): Promise<TelemetryAck>
  /** Throws `function_not_found`; `node_not_found` and `version_not_found` for one that there are no figures of either. */
  functionMetrics(idOrName: string, query: FunctionMetricsQuery): Promise<FunctionMetrics>
  nodeMetrics(nodeId: NodeId, query: MetricsQuery): Promise<NodeMetrics>
  open(): void
  close(): Promise<void>
}

export function createTelemetry(deps: TelemetryDeps): Telemetry {
  const intake = new TelemetryIntake(deps)
  const retention = new TelemetryRetention(deps)
  return {
    async take(nodeId, upload) {
      if (upload.node_id !== nodeId) {
        throw new EdgefnError('invalid_field', `node_id must be ${nodeId}, whose token this is.`, {
          details: { field: 'node_id' },
        })
      }
      return intake.take(nodeId, upload)
    },
    async functionMetrics(idOrName, query) {
      const { id } = await deps.resolveFunction(deps.db, idOrName)
      const range = rangeOf(query, deps.now())
      const filter = {
        function_id: id,
        version: query.version ?? null,
        node_id: query.node ?? null,
      }
      const versions = await versionFigures(deps.db, filter, range)
      // What a deleted node has told of is kept: unknown is only what there are no figures of.
      if (versions.length === 0 && filter.node_id !== null) await deps.requireNode(filter.node_id)
      if (versions.length === 0 && filter.version !== null) {
        await deps.requireVersion(deps.db, id, filter.version)
      }
      return { function_id: id, ...rangeView(range), versions }
    },
    async nodeMetrics(nodeId, query) {
      await deps.requireNode(nodeId)
      const range = rangeOf(query, deps.now())
      return {
        node_id: nodeId,
        ...rangeView(range),
        ...(await nodeFigures(deps.db, nodeId, range)),
      }
    },
    open: () => retention.open(),
    async close() {
      await retention.close()
      await intake.close()
    },
  }
}

function rangeView({ from_ms, to_ms, step_seconds }: Range) {
  return {
    from: new Date(from_ms).toISOString(),
    to: new Date(to_ms).toISOString(),
    step_seconds,
  }
}
