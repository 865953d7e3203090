/** What a node should serve beside what it says it holds: pure. A line for each function, and for each version of one that is split. */

import type { NodeDetail } from '../../protocol/api.ts'
import type { FunctionId } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { FunctionStatus } from '../../protocol/messages.ts'
import type { AssignedFunctionRow } from './store.ts'

type Line = NodeDetail['functions'][number]

/** `names` has those of all functions; what has none there any more is left out. */
export function functionsOnNode(
  assigned: readonly AssignedFunctionRow[],
  reported: readonly FunctionStatus[],
  names: ReadonlyMap<FunctionId, string>,
): Line[] {
  const wanted = new Map(assigned.map((item) => [item.function_id, item]))
  const held = Map.groupBy(reported, (item) => item.function_id)
  const ids = [...new Set([...wanted.keys(), ...held.keys()])]
  return ids.slice(0, LIMITS.functionsMax).flatMap((id) => {
    const name = names.get(id)
    if (name === undefined) return []
    const items = held.get(id) ?? []
    const split = wanted.get(id)?.split ?? null
    const version = wanted.get(id)?.version ?? null
    if (split === null) return [lineOf(id, name, version, currentOf(items))]
    return split.versions.map((arm) =>
      lineOf(
        id,
        name,
        arm.version,
        currentOf(items.filter((item) => item.version === arm.version)),
      ),
    )
  })
}

function lineOf(
  function_id: FunctionId,
  function_name: string,
  desired_version: number | null,
  item: FunctionStatus | null,
): Line {
  return {
    ...{ function_id, function_name, desired_version },
    version: item?.version ?? null,
    state: item?.state ?? 'unknown',
    breaker: item?.breaker ?? 'closed',
    reason: item?.reason ?? null,
    invocation_count: item?.invocation_count ?? 0,
    avg_latency_ms: item?.avg_latency_ms ?? 0,
  }
}

/** Of several versions that a node holds, the one it answers requests with, be it by refusing them. */
function currentOf(items: readonly FunctionStatus[]): FunctionStatus | null {
  const current = items.find(({ state }) => state === 'serving' || state === 'quarantined')
  return current ?? items[0] ?? null
}
