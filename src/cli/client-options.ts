/** Options shared by every command that talks to the control plane. */

import { CP_DATA_DIR } from '../config/cp-options.ts'
import { FILE_OPTION } from '../config/load.ts'
import { defaulted, optional, type Options } from '../config/option.ts'
import { choice, path, text, url } from '../config/values.ts'

/** For commands that print data. */
export const OUTPUT_OPTION = {
  output: defaulted(choice('table', 'json'), 'table', {
    placeholder: 'FORMAT',
    help: 'table or json',
    short: 'o',
  }),
} as const satisfies Options

export const CLIENT_OPTIONS = {
  cp: defaulted(url('http', 'https'), 'http://127.0.0.1:8080', {
    placeholder: 'URL',
    help: 'the control plane',
  }),
  'api-key': optional(text, {
    placeholder: 'KEY',
    help: 'default: read from DATA-DIR/admin-key',
    secret: true,
  }),
  'data-dir': defaulted(path, CP_DATA_DIR, {
    placeholder: 'DIR',
    help: "the control plane's, when it is on this machine: holds admin-key",
  }),
  ...OUTPUT_OPTION,
  ...FILE_OPTION,
} as const satisfies Options
