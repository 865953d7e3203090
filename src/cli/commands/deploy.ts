/** `edgefn deploy`. */

import { optional, repeated, toggle, type Values } from '../../config/option.ts'
import { duration } from '../../config/values.ts'
import { EdgefnError } from '../../errors.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import type { ApiClient } from '../api-client.ts'
import { command, type Terminal } from '../command.ts'
import { connect } from '../connect.ts'
import { comparedWithNewest } from '../deploy/comparison.ts'
import { deployModule, type DeployResult } from '../deploy/deploy-module.ts'
import { findingLines } from '../deploy/finding-lines.ts'
import { newRoutes, nodesOf, planOrNull } from '../deploy/first-plan.ts'
import { inServiceLines, printOutcome } from '../deploy/outcome-text.ts'
import { passedByLines } from '../deploy/passed-by.ts'
import { ROLLOUT_OPTIONS, rolloutFieldsOf, TARGET_OPTION } from '../deploy/rollout-options.ts'
import { VERSION_OPTIONS, versionFieldsOf } from '../deploy/version-options.ts'
import { checkModule, readModule } from '../deploy/module-file.ts'
import { printPlan } from '../deploy/rollout-text.ts'
import { EXIT, type ExitCode } from '../exit.ts'
import { clean, printJson } from '../output.ts'
import { createProgress } from '../progress.ts'
import { routeText, showRoute } from '../route-text.ts'
import { METHOD_OPTION } from './routes.ts'

const DEPLOY_OPTIONS = {
  ...VERSION_OPTIONS,
  route: repeated(routeText, {
    placeholder: 'ROUTE',
    help: '[HOST]/path for that path alone, [HOST]/path/* for all below; created if missing',
  }),
  ...METHOD_OPTION,
  ...TARGET_OPTION,
  ...ROLLOUT_OPTIONS,
  'dry-run': toggle('check the module, show what would change on which node, and change nothing'),
  timeout: optional(duration('1s', '14d'), {
    placeholder: 'TIME',
    help: 'how long to wait; default: 120s, with steps until the rollout ends or is paused',
  }),
  ...CLIENT_OPTIONS,
} as const

export const deploy = command({
  name: 'deploy',
  summary: 'put a module in service and wait until every node serves it',
  args: [{ name: 'FILE', help: 'a .wasm file', count: 'one' }],
  options: DEPLOY_OPTIONS,
  examples: [
    "edgefn deploy hello.wasm --name hello --route '/hello/*'",
    'edgefn deploy shop.wasm --name shop --route shop.example.com/* --target tokyo-1,osaka-1',
  ],
  async run({ values, args: [file = ''], terminal }) {
    if (values.method.length > 0 && values.route.length === 0) {
      throw new EdgefnError('invalid_config', '--method needs --route.')
    }
    const client = connect(values)
    if (values['dry-run']) return showPlan(client, file, values, terminal)
    const result = await deployModule(client, requestOf(file, values), createProgress(terminal))
    if (values.output === 'json') printJson(terminal, jsonOf(result))
    else if (result.deployed) printResult(terminal, result)
    if (!result.deployed) printOutcome(terminal, result.deployment)
    return result.deployed ? EXIT.ok : EXIT.notDeployed
  },
})

/** With the newest version in the place of the one that the file would be; where there is none, what would be the first. */
async function showPlan(
  client: ApiClient,
  file: string,
  values: Values<typeof DEPLOY_OPTIONS>,
  terminal: Terminal,
): Promise<ExitCode> {
  const { name, entrypoint, abi, target } = values
  const inspection = await checkModule(file, readModule(file), { entrypoint, abi })
  const fields = versionFieldsOf(file, values)
  const compatibility = await comparedWithNewest(client, fields, inspection)
  const planned = await planOrNull(client, name, { target, ...rolloutFieldsOf(values) })
  const nodes = planned === null ? await nodesOf(client, target) : []
  const new_routes = await newRoutes(client, name, values.route, values.method)
  if (values.output === 'json') {
    const first = { function: { id: null, name }, target, nodes: nodes.map((node) => node.id) }
    printJson(terminal, { ...(planned ?? first), new_routes, compatibility })
    return EXIT.ok
  }
  if (planned === null) {
    terminal.out(`${file} would be the first version of ${name} that is ready, on:\n`)
    for (const node of nodes) terminal.out(`  ${node.id} (${node.pop_id})\n`)
  } else {
    terminal.out(
      `${file} would be a new version after v${planned.version}, which stands for it\n\n`,
    )
    printPlan(terminal, planned)
  }
  for (const line of await passedByLines(client, target)) terminal.out(`${line}\n`)
  for (const line of findingLines(compatibility)) terminal.out(`${line}\n`)
  for (const route of new_routes) terminal.out(`route ${showRoute(route)} would be created\n`)
  return EXIT.ok
}

function requestOf(file: string, values: Values<typeof DEPLOY_OPTIONS>) {
  return {
    ...versionFieldsOf(file, values),
    routes: values.route,
    methods: values.method,
    target: values.target,
    timeout_ms: values.timeout,
    rollout: rolloutFieldsOf(values),
  }
}

function jsonOf(result: DeployResult) {
  const { deployed, version, deployment, routes, urls } = result
  const { function_id: id, name } = version
  return { deployed, function: { id, name }, version: version.version, deployment, routes, urls }
}

function printResult(terminal: Terminal, { version, deployment, routes, urls }: DeployResult) {
  const what = `${version.name} version ${version.version}`
  for (const line of inServiceLines(what, deployment)) terminal.out(`${clean(line)}\n`)
  for (const { curl, url } of urls) terminal.out(`  ${url}\n  ${curl}\n`)
  if (routes.length === 0) {
    terminal.out(
      `No route leads to it: edgefn routes create '/${version.name}/*' --function ${version.name}\n`,
    )
  }
}
