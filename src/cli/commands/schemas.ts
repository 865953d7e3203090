/** `edgefn schemas create|list|status`. */

import { readFile } from 'node:fs/promises'

import { optional } from '../../config/option.ts'
import { matching, text } from '../../config/values.ts'
import { EdgefnError, errorMessage } from '../../errors.ts'
import {
  schemaSummarySchema,
  schemaViewSchema,
  type SchemaOnNode,
  type SchemaSummary,
} from '../../protocol/schemas.ts'
import { popSelectorSchema } from '../../protocol/selector.ts'
import type { ApiClient } from '../api-client.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command, type Argument } from '../command.ts'
import { connect } from '../connect.ts'
import { EXIT } from '../exit.ts'
import { printList, printRecord, timeText } from '../output.ts'

const NAME_ARGUMENT: Argument = {
  name: 'NAME',
  help: 'name or id of the function whose database it is',
  count: 'one',
}

export const schemasCreate = command({
  name: 'schemas create',
  summary: "add SQL that nodes apply to a function's database, after what was added before",
  args: [
    NAME_ARGUMENT,
    { name: 'FILE.sql', help: 'statements, ended by semicolons', count: 'one' },
  ],
  options: {
    label: optional(text, { placeholder: 'TEXT', help: 'words for people' }),
    target: optional(matching(popSelectorSchema), {
      placeholder: 'POPS',
      help: 'POP ids separated by commas, * and leading ! allowed; default: all',
    }),
    ...CLIENT_OPTIONS,
  },
  examples: ['edgefn schemas create guestbook 001-entries.sql'],
  async run({ values, args: [name = '', file = ''], terminal }) {
    const created = await connect(values).post('/schemas', schemaSummarySchema, {
      function: name,
      sql: await readSql(file),
      label: values.label ?? '',
      pop_selector: values.target,
    })
    printRecord(terminal, values.output, created, {
      function: created.function_name,
      number: String(created.number),
      id: created.id,
      label: created.label,
      sha256: created.sha256,
      pops: created.pop_selector ?? 'all',
      created: timeText(created.created_at),
    })
    return EXIT.ok
  },
})

export const schemasList = command({
  name: 'schemas list',
  summary: 'list the schemas of a function, or of all',
  args: [],
  options: {
    function: optional(text, { placeholder: 'FUNCTION', help: 'name or id of the function' }),
    ...CLIENT_OPTIONS,
  },
  async run({ values, terminal }) {
    printList(terminal, values.output, await listOf(connect(values), values.function), {
      FUNCTION: (item) => item.function_name,
      NUMBER: (item) => String(item.number),
      LABEL: (item) => item.label,
      BYTES: (item) => String(item.size_bytes),
      POPS: (item) => item.pop_selector ?? 'all',
      CREATED: (item) => timeText(item.created_at),
      ID: (item) => item.id,
    })
    return EXIT.ok
  },
})

/** A schema on a node. */
type Standing = SchemaOnNode & Pick<SchemaSummary, 'number' | 'label'>

export const schemasStatus = command({
  name: 'schemas status',
  summary: "show what became of a function's schemas on each node",
  args: [NAME_ARGUMENT],
  options: CLIENT_OPTIONS,
  async run({ values, args: [name = ''], terminal }) {
    const client = connect(values)
    const standings: Standing[] = []
    for (const { id, number, label } of await listOf(client, name)) {
      const { nodes } = await client.get(`/schemas/${id}`, schemaViewSchema)
      standings.push(...nodes.map((node) => ({ number, label, ...node })))
    }
    printList(terminal, values.output, standings, {
      NUMBER: (item) => String(item.number),
      LABEL: (item) => item.label,
      NODE: (item) => item.node_id,
      POP: (item) => item.pop_id,
      STATE: (item) => item.state,
      SINCE: (item) => (item.updated_at === null ? '' : timeText(item.updated_at)),
      ERROR: (item) => item.error_message ?? '',
    })
    return EXIT.ok
  },
})

function listOf(client: ApiClient, name: string | null): Promise<SchemaSummary[]> {
  return client.list('/schemas', schemaSummarySchema, { function: name })
}

async function readSql(file: string): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file))
  } catch (thrown) {
    throw new EdgefnError('invalid_config', `FILE.sql: ${errorMessage(thrown)}`)
  }
}
