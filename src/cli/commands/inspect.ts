/** `edgefn inspect`. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { defaulted, optional } from '../../config/option.ts'
import { FILE_OPTION } from '../../config/load.ts'
import { choice, integer, matching, path } from '../../config/values.ts'
import { EdgefnError, errorMessage } from '../../errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { abiSchema, entrypointSchema } from '../../protocol/manifest.ts'
import type { Inspection } from '../../wasm/check.ts'
import { decodeModule } from '../../wasm/decode.ts'
import { normaliseModule } from '../../wasm/normalise.ts'
import { compilerForm, interpretedForm } from '../../wasm/rewrite/forms.ts'
import { inspectWholeModule } from '../../wasm/validate.ts'
import { OUTPUT_OPTION } from '../client-options.ts'
import { command, type Terminal } from '../command.ts'
import { readModule } from '../deploy/module-file.ts'
import { EXIT } from '../exit.ts'
import { alignColumns, bytesText, clean, printJson, printRecord } from '../output.ts'

export const inspect = command({
  name: 'inspect',
  summary: 'show what a module is: ABI, imports, exports, memory, and why it would be refused',
  args: [{ name: 'FILE', help: 'a .wasm file', count: 'one' }],
  options: {
    abi: optional(choice(...abiSchema.options), {
      placeholder: 'ABI',
      help: 'ABI to check against; default: the one that the module is found to speak',
    }),
    entrypoint: defaulted(matching(entrypointSchema), 'handle', {
      placeholder: 'EXPORT',
      help: 'exported function that answers (edgefn, Extism; a WAGI command other than _start)',
    }),
    'memory-pages': optional(integer(LIMITS.memoryPagesMin, LIMITS.memoryPagesMax), {
      placeholder: 'N',
      help: `page limit to check against; default: ${LIMITS.memoryPagesMax}`,
    }),
    'write-forms': optional(path, {
      placeholder: 'DIR',
      help: 'also write what nodes make of it: stored.wasm, interpreted.wasm, compiled.wasm',
    }),
    ...OUTPUT_OPTION,
    ...FILE_OPTION,
  },
  notes: ['Nothing is sent anywhere. Exits with 1 when the module would be refused.'],
  async run({ values, args: [file = ''], terminal }) {
    const bytes = readModule(file)
    const inspection = await inspectWholeModule(bytes, {
      abi: values.abi,
      entrypoint: values.entrypoint,
      memory_pages: values['memory-pages'] ?? LIMITS.memoryPagesMax,
    })
    const refused = inspection.problems.length > 0
    if (values['write-forms'] !== null && !refused) writeForms(bytes, values['write-forms'])
    if (values.output === 'json') printJson(terminal, { file, refused, ...inspection })
    else printInspection(terminal, file, inspection)
    return refused ? EXIT.failed : EXIT.ok
  },
})

/** For people who want to read with their own tools what runs in place of their module. Throws `invalid_config` when it cannot write. */
function writeForms(bytes: Uint8Array, dir: string): void {
  const stored = normaliseModule(decodeModule(bytes))
  const stackBytes = LIMITS.stackBytesMax
  const forms = {
    stored,
    interpreted: interpretedForm(stored, stackBytes).bytes,
    compiled: compilerForm(stored, { stackBytes, measured: null, polls: true }).bytes,
  }
  try {
    mkdirSync(dir, { recursive: true })
    for (const [name, form] of Object.entries(forms)) writeFileSync(join(dir, `${name}.wasm`), form)
  } catch (error) {
    throw new EdgefnError('invalid_config', `${dir}: cannot be written: ${errorMessage(error)}.`)
  }
}

function printInspection(terminal: Terminal, file: string, inspection: Inspection): void {
  printRecord(terminal, 'table', inspection, {
    file,
    size: bytesText(inspection.size_bytes),
    abi: inspection.abi ?? 'none that edgefn knows',
    entrypoint: inspection.entrypoint ?? '-',
    memory: memoryText(inspection),
    functions: String(inspection.functions),
    start: inspection.start ? 'yes' : 'no',
  })
  printExterns(
    terminal,
    'imports',
    inspection.imports.map((each) => [`  ${each.module}.${each.name}`, each.kind, each.type]),
  )
  printExterns(
    terminal,
    'exports',
    inspection.exports.map((each) => [`  ${each.name}`, each.kind, each.type]),
  )
  printExterns(
    terminal,
    'custom sections (not stored)',
    inspection.custom_sections.map((each) => [`  ${each.name}`, bytesText(each.size)]),
  )
  const { problems } = inspection
  if (problems.length === 0) terminal.out('\nwould be accepted\n')
  else terminal.out('\nwould be refused:\n')
  for (const { code, message } of problems) terminal.out(`  ${clean(message)} (${code})\n`)
}

function memoryText({ memory }: Inspection): string {
  if (memory === null) return 'none'
  const max = memory.max === null ? 'no maximum' : `at most ${memory.max}`
  return `${memory.min} ${memory.min === 1 ? 'page' : 'pages'} at start, ${max}${memory.imported ? ', imported' : ''}`
}

function printExterns(terminal: Terminal, title: string, rows: readonly string[][]): void {
  if (rows.length === 0) return
  const lines = alignColumns(rows.map((row) => row.map(clean)))
  terminal.out(`\n${title}\n${lines.join('\n')}\n`)
}
