/** Which nodes of its target a deployment leaves as they are. */

import { nodeViewSchema } from '../../protocol/api.ts'
import { selectsPop } from '../../protocol/selector.ts'
import type { ApiClient } from '../api-client.ts'

/** Nodes that are named; `nodes list` has them all. */
const namesMax = 5

/** `passed by: n1, n2 (cordoned)`; none when no node of the target is cordoned. */
export async function passedByLines(client: ApiClient, target: string): Promise<string[]> {
  const cordoned = await client.list('/nodes', nodeViewSchema, { cordoned: 'true' })
  const selector = target === 'all' ? null : target
  const names = cordoned.filter((node) => selectsPop(selector, node.pop_id)).map(({ id }) => id)
  if (names.length === 0) return []
  const more = names.length > namesMax ? ` and ${names.length - namesMax} more` : ''
  return [`passed by: ${names.slice(0, namesMax).join(', ')}${more} (cordoned)`]
}
