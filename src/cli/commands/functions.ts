/** `edgefn functions list|show|delete`. */

import type { Values } from '../../config/option.ts'
import { functionDetailSchema, functionViewSchema } from '../../protocol/api.ts'
import type { VersionView } from '../../protocol/api.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command, type Argument, type Terminal } from '../command.ts'
import { connect } from '../connect.ts'
import { quotasText } from '../deploy/quota-options.ts'
import { EXIT } from '../exit.ts'
import { bytesText, printJson, printList, printRecord, timeText } from '../output.ts'

export const FUNCTION_ARGUMENT: Argument = {
  name: 'FUNCTION',
  help: 'name or id of a function',
  count: 'one',
}

export const functionsList = command({
  name: 'functions list',
  summary: 'list the functions',
  args: [],
  options: CLIENT_OPTIONS,
  async run({ values, terminal }) {
    const functions = await connect(values).list('/functions', functionViewSchema)
    printList(terminal, values.output, functions, {
      NAME: (item) => item.name,
      LATEST: (item) => String(item.latest_version ?? '-'),
      UPDATED: (item) => timeText(item.updated_at),
      ID: (item) => item.id,
      DESCRIPTION: (item) => item.description,
    })
    return EXIT.ok
  },
})

export const functionsShow = command({
  name: 'functions show',
  summary: 'show a function and its newest version',
  args: [FUNCTION_ARGUMENT],
  options: CLIENT_OPTIONS,
  async run({ values, args: [name = ''], terminal }) {
    const path = `/functions/${encodeURIComponent(name)}`
    const found = await connect(values).get(path, functionDetailSchema)
    printRecord(terminal, values.output, found, {
      name: found.name,
      id: found.id,
      description: found.description || '-',
      created: timeText(found.created_at),
      updated: timeText(found.updated_at),
      'latest version': found.latest === null ? '-' : String(found.latest.version),
      ...(found.latest === null ? {} : versionFields(found.latest)),
    })
    if (values.output === 'json' || found.troubles.length === 0) return EXIT.ok
    terminal.out('\n')
    printList(terminal, values.output, found.troubles, {
      NODE: (item) => item.node_id,
      VERSION: (item) => String(item.version),
      STATE: (item) => item.state,
      REASON: (item) => item.reason,
    })
    return EXIT.ok
  },
})

function secretsText(secrets: VersionView['secrets']): string {
  const texts = Object.entries(secrets).map(([variable, { name, number, deleted }]) => {
    return `${variable}=${name}@${number}${deleted ? ' (deleted)' : ''}`
  })
  return texts.join(' ') || '-'
}

/** What a version is made of, a line each. */
export function versionFields(version: VersionView): Record<string, string> {
  return {
    abi: version.abi ?? '-',
    entrypoint: version.entrypoint,
    'memory pages': String(version.memory_pages),
    'max execution': `${version.max_execution_ms} ms`,
    quotas: quotasText(version.quotas),
    size: version.size_bytes === null ? '-' : bytesText(version.size_bytes),
    sha256: version.sha256 ?? '-',
    env: Object.keys(version.env).join(' ') || '-',
    secrets: secretsText(version.secrets),
    'allow http': version.http_allow.join(' ') || '-',
    isolation: version.isolation,
    message: version.message || '-',
  }
}

export const functionsDelete = command({
  name: 'functions delete',
  summary: 'delete a function with its routes, and take it off every node',
  args: [FUNCTION_ARGUMENT],
  options: CLIENT_OPTIONS,
  async run({ values, args: [name = ''], terminal }) {
    await connect(values).delete(`/functions/${encodeURIComponent(name)}`)
    printDeleted(terminal, values, 'function', name)
    return EXIT.ok
  },
})

/** Says that something is gone, in the format asked for. */
export function printDeleted(
  terminal: Terminal,
  values: Pick<Values<typeof CLIENT_OPTIONS>, 'output'>,
  what: string,
  id: string,
): void {
  if (values.output === 'json') printJson(terminal, { deleted: id })
  else terminal.out(`${what} ${id} deleted\n`)
}
