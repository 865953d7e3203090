/** `edgefn audit list|verify|export|accept`. */

import { readFileSync } from 'node:fs'

import { defaulted, optional, required, toggle, type Values } from '../../config/option.ts'
import { integer, matching, path, text } from '../../config/values.ts'
import { EdgefnError, errorMessage } from '../../errors.ts'
import { pageSchema } from '../../protocol/api.ts'
import { auditHeadSchema } from '../../protocol/audit-chain.ts'
import {
  auditRowSchema,
  auditVerdictSchema,
  mismatchAcceptedSchema,
  type AuditVerdictView,
} from '../../protocol/audit.ts'
import { timestampSchema } from '../../protocol/ids.ts'
import type { Query } from '../api-client.ts'
import { verifyExport } from '../audit-file.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command, type Terminal } from '../command.ts'
import { connect } from '../connect.ts'
import { EXIT } from '../exit.ts'
import { counted, printJson, printList, timeText } from '../output.ts'

const FILTERS = {
  since: optional(matching(timestampSchema), {
    placeholder: 'TIME',
    help: 'from this time on, such as 2026-01-31T00:00:00Z',
  }),
  until: optional(matching(timestampSchema), { placeholder: 'TIME', help: 'before this time' }),
  actor: optional(text, { placeholder: 'ACTOR', help: 'key:ID, node:ID or join-token:ID' }),
  type: optional(text, { placeholder: 'TYPE', help: 'of a resource: function, version, route, …' }),
  resource: optional(text, { placeholder: 'ID', help: 'id of a resource' }),
  operation: optional(text, { placeholder: 'WHAT', help: 'create, update, delete, deploy, …' }),
} as const

function queryOf(values: Values<typeof FILTERS>): Query {
  const { since, until, actor, type, resource, operation } = values
  return { since, until, actor, resource_type: type, resource_id: resource, operation }
}

export const auditList = command({
  name: 'audit list',
  summary: 'show who changed what, newest first',
  args: [],
  options: {
    ...FILTERS,
    limit: defaulted(integer(1, 500), '50', { placeholder: 'N', help: 'entries' }),
    ...CLIENT_OPTIONS,
  },
  async run({ values, terminal }) {
    const query = { ...queryOf(values), limit: values.limit }
    const { items } = await connect(values).get('/audit-log', pageSchema(auditRowSchema), query)
    printList(terminal, values.output, items, {
      SEQ: (item) => String(item.seq),
      TIME: (item) => timeText(item.created_at),
      ACTOR: (item) => item.actor,
      WHAT: (item) => `${item.operation} ${item.resource_type}`,
      RESOURCE: (item) => item.resource_id,
      REQUEST: (item) => item.request_id,
    })
    return EXIT.ok
  },
})

export const auditExport = command({
  name: 'audit export',
  summary: 'write the audit log as lines of JSON, oldest first',
  args: [],
  options: { ...FILTERS, ...CLIENT_OPTIONS },
  notes: [
    'The last line of stderr is the head: keep it elsewhere, and audit verify --head holds a later log against it.',
  ],
  examples: ['edgefn audit export > audit.jsonl', 'edgefn audit verify --file audit.jsonl'],
  async run({ values, terminal }) {
    const client = connect(values)
    let cursor: string | null = null
    let last: { seq: number; hash: string } | null = null
    do {
      const query: Query = { ...queryOf(values), order: 'asc', limit: 500, cursor }
      const page: { items: { seq: number; hash: string }[]; next_cursor: string | null } =
        await client.get('/audit-log', pageSchema(auditRowSchema), query)
      for (const row of page.items) terminal.out(`${JSON.stringify(row)}\n`)
      last = page.items.at(-1) ?? last
      cursor = page.next_cursor
    } while (cursor !== null)
    terminal.err(last === null ? 'no entries\n' : `head ${last.seq}:${last.hash}\n`)
    return EXIT.ok
  },
})

const FILE_OPTIONS = {
  head: optional(headText, {
    placeholder: 'SEQ:HASH',
    help: 'a head noted earlier, which the file must have',
  }),
  filtered: toggle('the file was exported with filters: rows may be missing between those it has'),
} as const

export const auditVerify = command({
  name: 'audit verify',
  summary: 'prove that the audit log is what was written, by its chain and by what nodes have seen',
  args: [],
  options: {
    file: optional(path, {
      placeholder: 'FILE',
      help: 'an exported log, instead of the one of the control plane',
    }),
    ...FILE_OPTIONS,
    ...CLIENT_OPTIONS,
  },
  notes: ['Exits with 1 when the log is not what was written.'],
  async run({ values, terminal }) {
    if (values.file !== null) return verifyFile(terminal, values.file, values)
    if (values.head !== null) {
      throw new EdgefnError('invalid_config', '--head needs --file: nodes hold the heads of a log.')
    }
    if (values.filtered) throw new EdgefnError('invalid_config', '--filtered needs --file.')
    const verdict = await connect(values).get('/audit-log/verification', auditVerdictSchema)
    if (values.output === 'json') printJson(terminal, verdict)
    else printVerdict(terminal, verdict)
    return verdict.intact ? EXIT.ok : EXIT.failed
  },
})

function verifyFile(
  terminal: Terminal,
  file: string,
  {
    head,
    filtered,
    output,
  }: Values<typeof FILE_OPTIONS> & Pick<Values<typeof CLIENT_OPTIONS>, 'output'>,
) {
  const verdict = verifyExport(readText(file), { anchor: head, filtered })
  if (output === 'json') printJson(terminal, verdict)
  else if (verdict.problem !== null) {
    const { seq, reason } = verdict.problem
    terminal.out(`${file} is not what was written: entry ${seq}: ${reason}\n`)
  } else {
    const { entries, first_seq: first, gaps } = verdict
    const beginning = first === null || first === 1 ? 'from the first on' : `from entry ${first} on`
    const holes = gaps === 0 ? '' : `, with ${counted(gaps, 'gap')}, across which nothing is proved`
    terminal.out(
      `${file} is intact: ${counted(entries, 'entry', 'entries')} ${beginning}${holes}\n`,
    )
  }
  return verdict.intact ? EXIT.ok : EXIT.failed
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new EdgefnError('invalid_config', `--file: cannot be read: ${errorMessage(error)}.`)
  }
}

function headText(value: string): { seq: number; hash: string } {
  const [seq, hash] = value.split(':')
  const parsed = auditHeadSchema.safeParse({ seq: Number(seq), hash })
  if (parsed.success) return parsed.data
  throw new Error('must be SEQ:HASH, as audit export writes it')
}

function printVerdict(terminal: Terminal, verdict: AuditVerdictView): void {
  const { entries, problem, heads, nodes, nodes_stored, mismatches, triggers_changed } = verdict
  if (problem === null)
    terminal.out(`the chain of ${counted(entries, 'entry', 'entries')} is unbroken\n`)
  else terminal.out(`the chain is broken at entry ${problem.seq}: ${problem.reason}\n`)
  if (mismatches === 0)
    terminal.out(`${counted(nodes, 'node has', 'nodes have')} seen nothing else\n`)
  else terminal.out(`heads that nodes have seen and the log does not have: ${mismatches}\n`)
  if (nodes_stored > 0) {
    terminal.out(
      `not heard of since the start, so that what they had seen is known from the database only: ${nodes_stored} of ${nodes}\n`,
    )
  }
  const told = heads.filter(({ state }) => state !== 'matches')
  if (told.length > 0) {
    printList(terminal, 'table', told, {
      NODE: (item) => item.node_id,
      SEQ: (item) => String(item.seq),
      'THE LOG': (item) => WORDS[item.state],
      REPORTED: (item) => timeText(item.reported_at),
      HASH: (item) => item.hash,
    })
  }
  if (triggers_changed.length > 0) {
    terminal.out(
      `the database may not refuse changes of the log any more: triggers dropped, changed or added: ${triggers_changed.join(', ')}\n`,
    )
  }
  terminal.out(verdict.intact ? 'the audit log is intact\n' : 'THE AUDIT LOG IS NOT INTACT\n')
}

const WORDS: Record<AuditVerdictView['heads'][number]['state'], string> = {
  matches: 'has it',
  missing: 'ends before',
  differs: 'has another entry',
  accepted: 'lost it, accepted',
}

export const auditAccept = command({
  name: 'audit accept',
  summary: 'take it as known that nodes have seen another log, such as after a backup was put back',
  args: [],
  options: {
    reason: required(text, { placeholder: 'TEXT', help: 'why; it is kept in the log' }),
    ...CLIENT_OPTIONS,
  },
  async run({ values, terminal }) {
    const answer = await connect(values).post(
      '/audit-log/mismatches/accept',
      mismatchAcceptedSchema,
      { reason: values.reason },
    )
    if (values.output === 'json') printJson(terminal, answer)
    else terminal.out(`${counted(answer.accepted, 'head')} accepted\n`)
    return EXIT.ok
  },
})
