/** `edgefn deployments list|show`. */

import { optional } from '../../config/option.ts'
import { text } from '../../config/values.ts'
import { deploymentViewSchema } from '../../protocol/api.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command } from '../command.ts'
import { connect } from '../connect.ts'
import { splitText, stickyWords } from '../deploy/version-words.ts'
import { EXIT } from '../exit.ts'
import { printList, printRecord, timeText } from '../output.ts'

export const deploymentsList = command({
  name: 'deployments list',
  summary: 'list the deployments, newest first',
  args: [],
  options: {
    function: optional(text, { placeholder: 'FUNCTION', help: 'only those of this function' }),
    ...CLIENT_OPTIONS,
  },
  async run({ values, terminal }) {
    const filters = { function: values.function }
    const deployments = await connect(values).list('/deployments', deploymentViewSchema, filters)
    printList(terminal, values.output, deployments, {
      CREATED: (item) => timeText(item.created_at),
      FUNCTION: (item) => item.function_name,
      VERSION: (item) => (item.split === null ? String(item.version) : splitText(item)),
      STATUS: (item) => item.status,
      NODES: (item) => {
        const deployed = item.targets.filter((target) => target.state === 'deployed')
        return `${deployed.length}/${item.targets.length}`
      },
      ID: (item) => item.id,
      MESSAGE: (item) => item.message,
    })
    return EXIT.ok
  },
})

export const deploymentsShow = command({
  name: 'deployments show',
  summary: 'show a deployment and its state on every node',
  args: [{ name: 'ID', help: 'id of a deployment (deployments list)', count: 'one' }],
  options: CLIENT_OPTIONS,
  async run({ values, args: [id = ''], terminal }) {
    const path = `/deployments/${encodeURIComponent(id)}`
    const deployment = await connect(values).get(path, deploymentViewSchema)
    printRecord(terminal, values.output, deployment, {
      id: deployment.id,
      function: deployment.function_name,
      version: deployment.split === null ? String(deployment.version) : splitText(deployment),
      ...(deployment.split === null ? {} : { sticky: stickyWords(deployment.split.sticky) }),
      status: deployment.status,
      target: deployment.target,
      strategy: deployment.strategy,
      message: deployment.message || '-',
      by: deployment.created_by,
      created: timeText(deployment.created_at),
      updated: timeText(deployment.updated_at),
    })
    if (values.output === 'json') return EXIT.ok
    terminal.out('\n')
    printList(terminal, values.output, deployment.targets, {
      NODE: (item) => item.node_id,
      POP: (item) => item.pop_id,
      STATE: (item) => item.state,
      UPDATED: (item) => timeText(item.updated_at),
      ERROR: (item) => (item.error === null ? '' : `${item.error.message} (${item.error.code})`),
    })
    return EXIT.ok
  },
})
