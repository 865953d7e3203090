/** `edgefn limits`. */

import { optional } from '../../config/option.ts'
import { integer } from '../../config/values.ts'
import { EdgefnError } from '../../errors.ts'
import { functionDetailSchema, versionViewSchema, type VersionView } from '../../protocol/api.ts'
import type { ApiClient } from '../api-client.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command } from '../command.ts'
import { connect } from '../connect.ts'
import { EXIT } from '../exit.ts'
import { effectiveLimits } from '../limits/effective-limits.ts'
import { limitText } from '../limits/limit-name.ts'
import { printJson, printList } from '../output.ts'

export const limits = command({
  name: 'limits',
  summary: 'show every limit that a function runs under, and where each comes from',
  args: [{ name: 'FUNCTION', help: 'name or id of a function', count: 'one' }],
  options: {
    version: optional(integer(1, Number.MAX_SAFE_INTEGER), {
      placeholder: 'N',
      help: 'a version; default: the newest whose module is stored',
    }),
    ...CLIENT_OPTIONS,
  },
  notes: [
    'SOURCE says who decides: default (change it with FLAG of deploy), version, quota, node option (FLAG of edge; its',
    'default is shown, for a node may have another), or fixed.',
  ],
  examples: ['edgefn limits hello', 'edgefn limits hello --version 3 -o json'],
  async run({ values, args: [name = ''], terminal }) {
    const version = await findVersion(connect(values), name, values.version)
    const rows = effectiveLimits(version)
    if (values.output === 'json') {
      const { function_id: id, name: called } = version
      printJson(terminal, {
        function: { id, name: called },
        version: version.version,
        limits: rows,
      })
      return EXIT.ok
    }
    terminal.err(`${version.name} version ${version.version}\n`)
    printList(terminal, values.output, rows, {
      LIMIT: (row) => row.name,
      VALUE: (row) => limitText(row.value, row.unit),
      SOURCE: (row) => row.source,
      FLAG: (row) => row.flag ?? '-',
      PER: (row) => row.per,
      BEYOND: (row) => row.beyond,
    })
    return EXIT.ok
  },
})

async function findVersion(
  client: ApiClient,
  name: string,
  wanted: number | null,
): Promise<VersionView> {
  const path = `/functions/${encodeURIComponent(name)}`
  if (wanted === null) {
    const { latest } = await client.get(path, functionDetailSchema)
    if (latest !== null) return latest
    throw new EdgefnError('version_not_found', `${name} has no version with a module yet.`)
  }
  const versions = await client.list(`${path}/versions`, versionViewSchema)
  const found = versions.find(({ version }) => version === wanted)
  if (found !== undefined) return found
  throw new EdgefnError('version_not_found', `${name} has no version ${wanted}.`)
}
