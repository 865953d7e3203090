/** What there is to store and to tell the workers of after a pass of the sync. */

import type { NodeState } from '../node-state.ts'

export function changed(before: NodeState, next: NodeState): boolean {
  return (
    before.synced !== next.synced ||
    before.revision !== next.revision ||
    before.unacknowledged !== next.unacknowledged ||
    differs(before.functions, next.functions) ||
    differs(before.routes, next.routes) ||
    differs(before.schemas, next.schemas)
  )
}

function differs(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  if (a.size !== b.size) return true
  for (const [key, value] of a) if (b.get(key) !== value) return true
  return false
}
