/** `edgefn deployment status|pause|resume|promote|abort`, `edgefn rollback`, `edgefn plan`. */

import { defaulted, optional, toggle } from '../../config/option.ts'
import { duration, matching, text } from '../../config/values.ts'
import { deploymentCreationSchema, deploymentViewSchema } from '../../protocol/api.ts'
import {
  deploymentPlanViewSchema,
  ROLLOUT_ORDERS,
  type RolloutOrder,
} from '../../protocol/rollout.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command } from '../command.ts'
import { connect } from '../connect.ts'
import { DEPLOYMENT_ARGUMENT, findDeployment } from '../deploy/find-deployment.ts'
import { printOutcome } from '../deploy/outcome-text.ts'
import { passedByLines } from '../deploy/passed-by.ts'
import { ROLLOUT_OPTIONS, rolloutFieldsOf, TARGET_OPTION } from '../deploy/rollout-options.ts'
import { phaseText, printPlan, printStatus } from '../deploy/rollout-text.ts'
import { versionNumber, wantedVersions } from '../deploy/version-words.ts'
import { isDeployedEverywhere, waitForNodes } from '../deploy/wait.ts'
import { EXIT } from '../exit.ts'
import { printJson } from '../output.ts'
import { createProgress } from '../progress.ts'
import { FUNCTION_ARGUMENT } from './functions.ts'

const TIMEOUT_OPTION = {
  timeout: optional(duration('1s', '14d'), {
    placeholder: 'TIME',
    help: 'how long to wait; default: 120s, with steps until the rollout ends or is paused',
  }),
} as const

export const deploymentStatus = command({
  name: 'deployment status',
  summary: 'show how a rollout goes: steps, gates, nodes, evidence',
  args: [DEPLOYMENT_ARGUMENT],
  options: {
    watch: toggle('follow it until it ends or is paused; the exit code says how'),
    ...TIMEOUT_OPTION,
    ...CLIENT_OPTIONS,
  },
  async run({ values, args: [name = ''], terminal }) {
    const client = connect(values)
    const found = await findDeployment(client, name)
    const deployment = values.watch
      ? await waitForNodes(client, found, values.timeout, createProgress(terminal))
      : found
    if (values.output === 'json') printJson(terminal, deployment)
    else printStatus(terminal, deployment)
    if (!values.watch || isDeployedEverywhere(deployment)) return EXIT.ok
    printOutcome(terminal, deployment)
    return EXIT.notDeployed
  },
})

const ORDER_SUMMARIES: Readonly<Record<RolloutOrder, string>> = {
  pause: 'hold a rollout where it is',
  resume: 'let a paused rollout go on',
  promote: 'let a rollout go on at once, without the rest of its present step',
  abort: 'stop a rollout and give its nodes back what they ran',
}

export const ROLLOUT_ORDER_COMMANDS = ROLLOUT_ORDERS.map((order) =>
  command({
    name: `deployment ${order}`,
    summary: ORDER_SUMMARIES[order],
    args: [DEPLOYMENT_ARGUMENT],
    options: {
      message: optional(text, { placeholder: 'TEXT', help: 'why' }),
      ...CLIENT_OPTIONS,
    },
    async run({ values, args: [name = ''], terminal }) {
      const client = connect(values)
      const { id } = await findDeployment(client, name)
      const path = `/deployments/${id}/${order}`
      const body = { message: values.message ?? '' }
      const changed = await client.post(path, deploymentViewSchema, body)
      if (values.output === 'json') printJson(terminal, changed)
      else terminal.out(`deployment ${id}: ${phaseText(changed)}\n`)
      return EXIT.ok
    },
  }),
)

export const rollback = command({
  name: 'rollback',
  summary: 'put an earlier version in service again, everywhere at once',
  args: [FUNCTION_ARGUMENT],
  options: {
    to: optional(versionNumber, {
      placeholder: 'VERSION',
      help: 'such as v42; default: the last one that had all of the traffic',
    }),
    target: optional(matching(deploymentCreationSchema.shape.target.unwrap()), {
      placeholder: 'POPS',
      help: 'default: those of the present deployment',
    }),
    message: optional(text, { placeholder: 'TEXT', help: 'why' }),
    timeout: defaulted(duration('1s', '1d'), '120s', {
      placeholder: 'TIME',
      help: 'how long to wait for the nodes',
    }),
    ...CLIENT_OPTIONS,
  },
  async run({ values, args: [name = ''], terminal }) {
    const client = connect(values)
    const path = `/functions/${encodeURIComponent(name)}/rollback`
    const begun = await client.post(path, deploymentViewSchema, {
      ...(values.to === null ? {} : { to: values.to }),
      ...(values.target === null ? {} : { target: values.target }),
      message: values.message ?? '',
    })
    const deployment = await waitForNodes(client, begun, values.timeout, createProgress(terminal))
    if (values.output === 'json') printJson(terminal, deployment)
    else {
      const { function_name: what, version, status, id } = deployment
      terminal.out(`${what} is rolled back to v${version}: ${status} (deployment ${id})\n`)
    }
    if (isDeployedEverywhere(deployment)) return EXIT.ok
    printOutcome(terminal, deployment)
    return EXIT.notDeployed
  },
})

export const plan = command({
  name: 'plan',
  summary: 'show what a deployment would change, node by node, and change nothing',
  args: [
    FUNCTION_ARGUMENT,
    { name: 'VERSION', help: 'v42, or v41@90 v42@10; default: the newest', count: 'any' },
  ],
  options: { ...ROLLOUT_OPTIONS, ...TARGET_OPTION, ...CLIENT_OPTIONS },
  examples: ['edgefn plan hello v42 --strategy canary --steps 1,50%'],
  async run({ values, args: [name = '', ...words], terminal }) {
    const path = `/functions/${encodeURIComponent(name)}/plan`
    const client = connect(values)
    const planned = await client.post(path, deploymentPlanViewSchema, {
      ...(words.length === 0 ? {} : wantedVersions(words)),
      ...rolloutFieldsOf(values),
      target: values.target,
    })
    if (values.output === 'json') {
      printJson(terminal, planned)
      return EXIT.ok
    }
    printPlan(terminal, planned)
    for (const line of await passedByLines(client, values.target)) terminal.out(`${line}\n`)
    return EXIT.ok
  },
})
