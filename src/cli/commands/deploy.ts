/** `edgefn deploy`. */

import { defaulted, optional, repeated, required, type Values } from '../../config/option.ts'
import { choice, duration, integer, matching, text } from '../../config/values.ts'
import { deploymentCreationSchema } from '../../protocol/api.ts'
import { httpAllowPatternSchema } from '../../protocol/http-allow-schema.ts'
import { functionNameSchema } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import {
  abiSchema,
  entrypointSchema,
  environmentSchema,
  isolationSchema,
} from '../../protocol/manifest.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command, type Terminal } from '../command.ts'
import { connect } from '../connect.ts'
import { QUOTA_OPTIONS, quotasOf } from '../deploy/quota-options.ts'
import { deployModule, type DeployResult } from '../deploy/deploy-module.ts'
import { EXIT } from '../exit.ts'
import { printJson } from '../output.ts'
import { createProgress } from '../progress.ts'
import { routeText } from '../route-text.ts'
import { METHOD_OPTION } from './routes.ts'

/** What `http_fetch` of a version may reach. */
export const ALLOW_HTTP_OPTION = {
  'allow-http': repeated(matching(httpAllowPatternSchema), {
    placeholder: 'HOST',
    help: 'a host that http_fetch may reach, such as api.example.com or *.example.com; default: none',
  }),
} as const

export const ISOLATION_OPTION = {
  isolation: defaulted(choice(...isolationSchema.options), 'instance', {
    placeholder: 'WHAT',
    help: 'request: each request sees a clean instance; instance: one is kept, with what requests leave in it (edgefn, Extism)',
  }),
} as const

export const ABI_OPTION = {
  abi: optional(choice(...abiSchema.options), {
    placeholder: 'ABI',
    help: `${abiSchema.options.join(', ')}; default: the one that the module is found to speak`,
  }),
} as const

const DEPLOY_OPTIONS = {
  name: required(matching(functionNameSchema), {
    placeholder: 'NAME',
    help: 'the function; a name that exists gets a new version',
  }),
  route: repeated(routeText, {
    placeholder: 'ROUTE',
    help: '[HOST]/path for that path alone, [HOST]/path/* for all below; created if missing',
  }),
  ...METHOD_OPTION,
  target: defaulted(matching(deploymentCreationSchema.shape.target.unwrap()), 'all', {
    placeholder: 'POPS',
    help: 'all, or POP ids separated by commas; * and leading ! allowed',
  }),
  'memory-pages': optional(integer(LIMITS.memoryPagesMin, LIMITS.memoryPagesMax), {
    placeholder: 'N',
    help: `64 KiB each; default: ${LIMITS.memoryPagesDefault}, or twice what the module starts with if that is more; ${LIMITS.memoryPagesMax} for Go`,
  }),
  'max-execution-ms': optional(integer(LIMITS.executionMsMin, LIMITS.executionMsMax), {
    placeholder: 'N',
    help: `how long one call may run; default: ${LIMITS.executionMsDefault}`,
  }),
  ...QUOTA_OPTIONS,
  ...ABI_OPTION,
  entrypoint: defaulted(matching(entrypointSchema), 'handle', {
    placeholder: 'EXPORT',
    help: 'exported function that answers (edgefn, Extism; a WAGI command other than _start)',
  }),
  env: repeated(variable, {
    placeholder: 'NAME=VALUE',
    help: 'environment of the function; in EDGEFN_ENV one per line',
    separator: '\n',
    // The value of a variable may be a password.
    secret: true,
  }),
  ...ALLOW_HTTP_OPTION,
  ...ISOLATION_OPTION,
  message: optional(text, { placeholder: 'TEXT', help: 'what changed' }),
  timeout: defaulted(duration('1s', '1d'), '120s', {
    placeholder: 'TIME',
    help: 'how long to wait for the nodes',
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
    const client = connect(values)
    const result = await deployModule(client, requestOf(file, values), createProgress(terminal))
    if (values.output === 'json') printJson(terminal, jsonOf(result))
    else printResult(terminal, result)
    return result.deployed ? EXIT.ok : EXIT.notDeployed
  },
})

function requestOf(file: string, values: Values<typeof DEPLOY_OPTIONS>) {
  return {
    file,
    name: values.name,
    abi: values.abi,
    entrypoint: values.entrypoint,
    memory_pages: values['memory-pages'],
    max_execution_ms: values['max-execution-ms'],
    quotas: quotasOf(values),
    env: Object.fromEntries(values.env),
    http_allow: values['allow-http'],
    isolation: values.isolation,
    message: values.message ?? '',
    routes: values.route,
    methods: values.method,
    target: values.target,
    timeout_ms: values.timeout,
  }
}

function variable(value: string): readonly [string, string] {
  const equals = value.indexOf('=')
  const name = value.slice(0, Math.max(equals, 0))
  const content = value.slice(equals + 1)
  if (!environmentSchema.safeParse({ [name]: content }).success) {
    const shown = JSON.stringify((equals < 0 ? value : name).slice(0, 128))
    throw new Error(
      `must be NAME=VALUE, the name of letters, digits and _, the value of at most ${LIMITS.variableValueCharsMax} characters; ${shown} is not`,
    )
  }
  return [name, content]
}

function jsonOf(result: DeployResult) {
  const { deployed, version, deployment, routes, urls } = result
  const { function_id: id, name } = version
  return { deployed, function: { id, name }, version: version.version, deployment, routes, urls }
}

function printResult(
  terminal: Terminal,
  { deployed, version, deployment, routes, urls }: DeployResult,
) {
  const what = `${version.name} version ${version.version}`
  if (!deployed) {
    const missing = deployment.targets.filter((target) => target.state !== 'deployed')
    const states = missing.map((target) => `${target.node_id} (${target.state})`).join(', ')
    terminal.err(`error: ${what} is not served by ${states}; deployment ${deployment.id}\n`)
    return
  }
  terminal.out(`${what} is in service on ${nodes(deployment.targets.length)}\n`)
  for (const { curl, url } of urls) terminal.out(`  ${url}\n  ${curl}\n`)
  if (routes.length === 0) {
    terminal.out(
      `No route leads to it: edgefn routes create '/${version.name}/*' --function ${version.name}\n`,
    )
  }
}

function nodes(count: number): string {
  return count === 1 ? '1 node' : `${count} nodes`
}
