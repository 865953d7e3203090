/** `edgefn nodes syncs`. */

import { defaulted } from '../../config/option.ts'
import { integer } from '../../config/values.ts'
import {
  syncHistorySchema,
  syncRecordsPerNodeMax,
  type SyncHistory,
  type SyncRecordView,
} from '../../protocol/syncs.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command } from '../command.ts'
import { connect } from '../connect.ts'
import { EXIT } from '../exit.ts'
import { printList, printRecord, timeText } from '../output.ts'

export const nodesSyncs = command({
  name: 'nodes syncs',
  summary: 'show what became of the syncs of a node, newest first',
  args: [{ name: 'NODE', help: 'id of a node', count: 'one' }],
  options: {
    limit: defaulted(integer(1, syncRecordsPerNodeMax), '20', {
      placeholder: 'N',
      help: `records to show; the newest ${syncRecordsPerNodeMax} are kept, and the figures are over these`,
    }),
    ...CLIENT_OPTIONS,
  },
  async run({ values, args: [id = ''], terminal }) {
    const path = `/nodes/${encodeURIComponent(id)}/syncs`
    const history = await connect(values).get(path, syncHistorySchema, { limit: values.limit })
    printRecord(terminal, values.output, history, figures(history))
    if (values.output === 'json') return EXIT.ok
    terminal.out('\n')
    printList(terminal, values.output, history.items, {
      TIME: (item) => timeText(item.created_at),
      REVISION: (item) => `${item.base_revision || 'full'} → ${item.revision}`,
      RESULT: (item) => (item.succeeded ? 'ok' : 'failed'),
      DEPLOYED: (item) => String(item.deployed),
      FAILED: (item) => String(item.failed),
      MS: (item) => item.duration_ms.toFixed(0),
      WHY: why,
    })
    return EXIT.ok
  },
})

function figures({ statistics }: SyncHistory): Record<string, string> {
  const { syncs, succeeded, success_rate: rate, duration_ms: ms } = statistics
  return {
    syncs: String(syncs),
    succeeded: rate === null ? '-' : `${succeeded} (${(rate * 100).toFixed(1)} %)`,
    'duration ms':
      ms === null ? '-' : `${ms.min} min, ${ms.median} median, ${ms.p95} p95, ${ms.max} max`,
  }
}

function why({ failures, schema_failures: schemas, skipped }: SyncRecordView): string {
  const [first] = failures
  const failed = first?.error ? `${first.error.code}: ${first.error.message}` : ''
  const [schema] = schemas
  const schemaFailed = schema ? `schema ${schema.number}: ${schema.error?.message ?? ''}` : ''
  const left = skipped.length === 0 ? '' : `left out: ${skipped.join(', ')}`
  return [schemaFailed, failed, left].filter((text) => text !== '').join('; ')
}
