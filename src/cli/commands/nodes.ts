/** `edgefn nodes list|show`. */

import { optional } from '../../config/option.ts'
import { choice, text } from '../../config/values.ts'
import { nodeDetailSchema, nodeViewSchema, type NodeView } from '../../protocol/api.ts'
import { nodeStatusSchema } from '../../protocol/messages.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command } from '../command.ts'
import { connect } from '../connect.ts'
import { EXIT } from '../exit.ts'
import { bytesText, printList, printRecord, timeText } from '../output.ts'

/** What commands have left on a node. */
function modeText({ cordoned, drained, isolated_until }: NodeView): string {
  const modes = [
    ...(cordoned ? ['cordoned'] : []),
    ...(drained ? ['drained'] : []),
    ...(isolated_until === null ? [] : [`isolated until ${timeText(isolated_until)}`]),
  ]
  return modes.length === 0 ? '-' : modes.join(', ')
}

export const nodesList = command({
  name: 'nodes list',
  summary: 'list the edge nodes',
  args: [],
  options: {
    pop: optional(text, { placeholder: 'POP', help: 'only nodes of this POP' }),
    status: optional(choice(...nodeStatusSchema.options), {
      placeholder: 'STATUS',
      help: `only nodes that are ${nodeStatusSchema.options.join(', ')}`,
    }),
    ...CLIENT_OPTIONS,
  },
  async run({ values, terminal }) {
    const filters = { pop: values.pop, status: values.status }
    const nodes = await connect(values).list('/nodes', nodeViewSchema, filters)
    printList(terminal, values.output, nodes, {
      NODE: (item) => item.id,
      POP: (item) => item.pop_id,
      STATUS: (item) => item.status,
      MODE: modeText,
      REVISION: (item) => `${item.applied_revision}/${item.desired_revision}`,
      ADDRESS: (item) => `${item.ip}:${item.http_port}`,
      VERSION: (item) => item.version,
      HEARTBEAT: (item) => timeText(item.last_heartbeat),
      'LAST COMMAND': ({ last_command: last }) =>
        last === null ? '-' : `${last.type} ${last.state}`,
    })
    return EXIT.ok
  },
})

export const nodesShow = command({
  name: 'nodes show',
  summary: 'show a node and the functions it serves',
  args: [{ name: 'NODE', help: 'id of a node', count: 'one' }],
  options: CLIENT_OPTIONS,
  async run({ values, args: [id = ''], terminal }) {
    const node = await connect(values).get(`/nodes/${encodeURIComponent(id)}`, nodeDetailSchema)
    printRecord(terminal, values.output, node, {
      node: node.id,
      pop: node.pop_id,
      status: node.status,
      mode: modeText(node),
      'last command':
        node.last_command === null
          ? '-'
          : `${node.last_command.type} ${node.last_command.state} (${node.last_command.id})`,
      address: `${node.ip}:${node.http_port}`,
      version: `${node.version} on ${node.os} ${node.arch}`,
      'last heartbeat': timeText(node.last_heartbeat),
      revision: `${node.applied_revision} of ${node.desired_revision}`,
      cpu: node.cpu_percent === null ? '-' : `${node.cpu_percent.toFixed(1)} %`,
      memory: node.mem_bytes === null ? '-' : bytesText(node.mem_bytes),
    })
    if (values.output === 'json') return EXIT.ok
    terminal.out('\n')
    printList(terminal, values.output, node.functions, {
      FUNCTION: (item) => item.function_name,
      VERSION: (item) => String(item.version ?? '-'),
      WANTED: (item) => String(item.desired_version ?? '-'),
      STATE: (item) => item.state,
      BREAKER: (item) => item.breaker,
      CALLS: (item) => String(item.invocation_count),
      'AVERAGE MS': (item) => item.avg_latency_ms.toFixed(2),
      REASON: (item) => item.reason ?? '',
    })
    return EXIT.ok
  },
})
