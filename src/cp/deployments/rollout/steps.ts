/** Which node belongs to which step; pure. */

import type { NodeId, PopId } from '../../../protocol/ids.ts'
import { selectsPop } from '../../../protocol/selector.ts'
import type { RolloutStep } from './decide.ts'

export interface StepNode {
  readonly id: NodeId
  readonly pop_id: PopId
  readonly online: boolean
}

/**
 * The nodes in the order of their turn with the number of their step, from 1. By the POP order; of equals those that are online
 * come first, so that a canary is a node that somebody calls; then by POP and id.
 */
export function nodesBySteps<N extends StepNode>(
  nodes: readonly N[],
  steps: readonly Pick<RolloutStep, 'nodes'>[],
  popOrder: readonly string[],
): { readonly node: N; readonly step: number }[] {
  const ranks = new Map<PopId, number>()
  for (const { pop_id } of nodes) {
    if (ranks.has(pop_id)) continue
    const rank = popOrder.findIndex((selector) => selectsPop(selector, pop_id))
    ranks.set(pop_id, rank < 0 ? popOrder.length : rank)
  }
  const rankOf = (node: N) => ranks.get(node.pop_id) ?? popOrder.length
  const inOrder = [...nodes].sort(
    (a, b) =>
      rankOf(a) - rankOf(b) ||
      Number(b.online) - Number(a.online) ||
      compare(a.pop_id, b.pop_id) ||
      compare(a.id, b.id),
  )
  let step = 1
  return inOrder.map((node, index) => {
    while (step < steps.length && index >= (steps[step - 1]?.nodes ?? 0)) step += 1
    return { node, step }
  })
}

function compare(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
