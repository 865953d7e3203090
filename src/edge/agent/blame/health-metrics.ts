/** Deaths of workers, quarantines and circuit breakers as metrics. */

import type { MetricJson } from '../../../telemetry/metrics.ts'
import type { BreakerState } from '../../breaker.ts'
import { BREAKER_STATES } from '../../breaker.ts'

export interface HealthFigures {
  /** Unexpected ends of workers, by reason. */
  readonly deaths: ReadonlyMap<string, number>
  /** Those in which a function ran, by function. */
  readonly blamed: ReadonlyMap<string, number>
  /** Function versions that are not run for now. */
  readonly quarantines: readonly { readonly function_id: string; readonly version: number }[]
  readonly breakers: readonly {
    readonly function_id: string
    readonly state: BreakerState
    readonly opened: number
  }[]
}

export function healthMetrics({
  deaths,
  blamed,
  quarantines,
  breakers,
}: HealthFigures): MetricJson[] {
  return [
    metric(
      'edgefn_worker_deaths_total',
      'counter',
      'Workers that ended unasked, by why.',
      [...deaths].map(([reason, value]) => ({ value, labels: { reason } })),
    ),
    metric(
      'edgefn_worker_deaths_blamed_total',
      'counter',
      'Of those, the ones in which the function ran.',
      [...blamed].map(([function_id, value]) => ({ value, labels: { function_id } })),
    ),
    metric(
      'edgefn_function_quarantined',
      'gauge',
      'Function versions that are not run for now, because they end workers; always 1.',
      quarantines.map(({ function_id, version }) => ({
        value: 1,
        labels: { function_id, version },
      })),
    ),
    metric(
      'edgefn_breaker_state',
      'gauge',
      'Circuit breaker of a function: 0 closed, 1 open, 2 half-open.',
      breakers.map(({ function_id, state }) => ({
        value: BREAKER_STATES.indexOf(state),
        labels: { function_id },
      })),
    ),
    metric(
      'edgefn_breaker_opened_total',
      'counter',
      'How often the circuit breaker of a function opened.',
      breakers.map(({ function_id, opened }) => ({ value: opened, labels: { function_id } })),
    ),
  ]
}

function metric(
  name: string,
  type: MetricJson['type'],
  help: string,
  values: MetricJson['values'],
): MetricJson {
  return { name, type, help, aggregator: 'sum', values }
}
