/** `edgefn nodes list|show`. */

import { optional } from '../../config/option.ts'
import { choice, text } from '../../config/values.ts'
import { nodeDetailSchema, nodeViewSchema } from '../../protocol/api.ts'
import { nodeStatusSchema } from '../../protocol/messages.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command } from '../command.ts'
import { connect } from '../connect.ts'
import { EXIT } from '../exit.ts'
import { bytesText, printList, printRecord, timeText } from '../output.ts'

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
      REVISION: (item) => `${item.applied_revision}/${item.desired_revision}`,
      ADDRESS: (item) => `${item.ip}:${item.http_port}`,
      VERSION: (item) => item.version,
      HEARTBEAT: (item) => timeText(item.last_heartbeat),
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
