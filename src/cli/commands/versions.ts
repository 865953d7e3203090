/** `edgefn versions upload|list|show`. */

import { versionViewSchema } from '../../protocol/api.ts'
import { versionDetailSchema, type VersionDetail } from '../../protocol/versions.ts'
import { EdgefnError, errorMessage } from '../../errors.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command, type Terminal } from '../command.ts'
import { connect } from '../connect.ts'
import { quotasText } from '../deploy/quota-options.ts'
import { uploadModule } from '../deploy/upload-module.ts'
import { VERSION_OPTIONS, versionFieldsOf } from '../deploy/version-options.ts'
import { versionNumber } from '../deploy/version-words.ts'
import { EXIT } from '../exit.ts'
import { bytesText, printJson, printList, printRecord, timeText } from '../output.ts'
import { createProgress } from '../progress.ts'
import { FUNCTION_ARGUMENT, versionFields } from './functions.ts'

export const versionsUpload = command({
  name: 'versions upload',
  summary: 'upload a module as the next version of a function, without giving it traffic',
  args: [{ name: 'FILE', help: 'a .wasm file', count: 'one' }],
  options: { ...VERSION_OPTIONS, ...CLIENT_OPTIONS },
  examples: [
    'edgefn versions upload hello.wasm --name hello --message "answers in French"',
    'edgefn versions deploy hello v42',
  ],
  async run({ values, args: [file = ''], terminal }) {
    const fields = versionFieldsOf(file, values)
    const version = await uploadModule(connect(values), fields, createProgress(terminal))
    if (values.output === 'json') printJson(terminal, version)
    else {
      const { name, version: number } = version
      terminal.out(
        `${name} version ${number} is ready: edgefn versions deploy ${name} v${number}\n`,
      )
    }
    return EXIT.ok
  },
})

export const versionsList = command({
  name: 'versions list',
  summary: 'list the versions of a function',
  args: [FUNCTION_ARGUMENT],
  options: CLIENT_OPTIONS,
  async run({ values, args: [name = ''], terminal }) {
    const path = `/functions/${encodeURIComponent(name)}/versions`
    const versions = await connect(values).list(path, versionViewSchema)
    printList(terminal, values.output, versions, {
      VERSION: (item) => String(item.version),
      STATE: (item) => item.state,
      ABI: (item) => item.abi ?? '-',
      SIZE: (item) => (item.size_bytes === null ? '-' : bytesText(item.size_bytes)),
      QUOTAS: (item) => quotasText(item.quotas),
      SHA256: (item) => item.sha256?.slice(0, 12) ?? '-',
      CREATED: (item) => timeText(item.created_at),
      'ALLOW HTTP': (item) => item.http_allow.join(' ') || '-',
      ISOLATION: (item) => item.isolation,
      MESSAGE: (item) => item.message,
    })
    return EXIT.ok
  },
})

export const versionsShow = command({
  name: 'versions show',
  summary: 'show a version: its module, limits, environment, and where it is live',
  args: [FUNCTION_ARGUMENT, { name: 'VERSION', help: 'such as v42', count: 'one' }],
  options: CLIENT_OPTIONS,
  async run({ values, args: [name = '', word = ''], terminal }) {
    const path = `/functions/${encodeURIComponent(name)}/versions/${numberOf(word)}`
    const version = await connect(values).get(path, versionDetailSchema)
    printRecord(terminal, values.output, version, {
      name: version.name,
      version: String(version.version),
      state: version.state,
      created: timeText(version.created_at),
      ...versionFields(version),
      'uploaded sha256': version.uploaded_sha256 ?? '-',
      'memory at start': version.memory_min === null ? '-' : `${version.memory_min} pages`,
      imports: version.imports?.join(' ') || '-',
      exports: version.exports?.join(' ') || '-',
    })
    if (values.output === 'table') printRest(terminal, version)
    return EXIT.ok
  },
})

function numberOf(word: string): number {
  try {
    return versionNumber(word)
  } catch (error) {
    throw new EdgefnError('invalid_config', `VERSION: ${word} ${errorMessage(error)}.`)
  }
}

function printRest(terminal: Terminal, version: VersionDetail): void {
  const { compatibility, live, forced } = version
  if (compatibility !== null) {
    const { compared_with: before, findings } = compatibility
    const what = before === null ? 'no version before it' : `compared with version ${before}`
    const verdict = findings.length === 0 ? '' : `, ${findings.length} findings`
    terminal.out(`\n${what}${verdict}${forced ? ', forced' : ''}\n`)
    if (findings.length > 0) {
      printList(terminal, 'table', findings, {
        SEVERITY: (item) => item.severity,
        ASPECT: (item) => item.aspect,
        FINDING: (item) => item.message,
      })
    }
  }
  if (live.length === 0) {
    terminal.out('\nnot live anywhere\n')
    return
  }
  terminal.out('\n')
  printList(terminal, 'table', live, {
    POP: (item) => item.pop_id,
    'LIVE ON': (item) => `${item.deployed} of ${item.nodes} nodes`,
    TRAFFIC: (item) => `${item.weight} %`,
  })
}
