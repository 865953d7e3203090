/** `edgefn versions preview`. */

import { defaulted } from '../../config/option.ts'
import { duration } from '../../config/values.ts'
import { EdgefnError, errorMessage } from '../../errors.ts'
import {
  PREVIEW_PARAMETER,
  PREVIEW_TOKEN_FIELD,
  PREVIEW_VERSION_FIELD,
  previewViewSchema,
} from '../../protocol/preview.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command } from '../command.ts'
import { connect } from '../connect.ts'
import { versionNumber } from '../deploy/version-words.ts'
import { EXIT } from '../exit.ts'
import { printRecord, timeText } from '../output.ts'

export const versionsPreview = command({
  name: 'versions preview',
  summary: 'make a token with which a version answers on every node, whatever traffic it has',
  args: [
    { name: 'FUNCTION', help: 'name or id of a function', count: 'one' },
    { name: 'VERSION', help: 'a version, such as v42', count: 'one' },
  ],
  options: {
    ttl: defaulted(duration('1m', '7d'), '1h', {
      placeholder: 'TIME',
      help: 'how long the token is good for; it cannot be taken back',
    }),
    ...CLIENT_OPTIONS,
  },
  notes: [
    'Requests of a route of the function get the version with the two fields that are printed.',
    'Where the control plane has a preview domain, the version has a host of its own as well.',
  ],
  examples: ['edgefn versions preview hello v42 --ttl 10m'],
  async run({ values, args: [name = '', version = ''], terminal }) {
    const number = readVersion(version)
    const path = `/functions/${encodeURIComponent(name)}/versions/${number}/preview`
    const made = await connect(values).post(path, previewViewSchema, {
      ttl_seconds: Math.ceil(values.ttl / 1000),
    })
    printRecord(terminal, values.output, made, {
      version: `${made.name} v${made.version}`,
      expires: `${timeText(made.expires_at)} UTC`,
      'header fields': `${PREVIEW_VERSION_FIELD}: v${made.version}`,
      '': `${PREVIEW_TOKEN_FIELD}: ${made.token}`,
      host: made.host ?? '- (the control plane has no --preview-domain, or the name is too long)',
      ...(made.host === null
        ? {}
        : { 'for a browser': `http://${made.host}/?${PREVIEW_PARAMETER}=${made.token}` }),
    })
    return EXIT.ok
  },
})

function readVersion(word: string): number {
  try {
    return versionNumber(word)
  } catch (thrown) {
    throw new EdgefnError(
      'invalid_config',
      `VERSION: ${errorMessage(thrown)}, got ${JSON.stringify(word)}.`,
    )
  }
}
