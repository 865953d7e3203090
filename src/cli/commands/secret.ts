/** `edgefn secret put|list|delete`. */

import { optional, toggle } from '../../config/option.ts'
import { text } from '../../config/values.ts'
import { EdgefnError } from '../../errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { secretViewSchema } from '../../protocol/secrets.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command, type Argument } from '../command.ts'
import { connect } from '../connect.ts'
import { EXIT } from '../exit.ts'
import { printJson, printList, timeText } from '../output.ts'
import { printDeleted } from './functions.ts'

const NAME_ARGUMENT: Argument = { name: 'NAME', help: 'name of a secret', count: 'one' }

const FUNCTION_OPTION = {
  function: optional(text, {
    placeholder: 'FUNCTION',
    help: 'the only function that may use it; default: every function may',
  }),
} as const

export const secretPut = command({
  name: 'secret put',
  summary: 'store a value, read from stdin, as the next number of a secret',
  args: [NAME_ARGUMENT],
  options: { ...FUNCTION_OPTION, ...CLIENT_OPTIONS },
  notes: ['A line end at the end of the input is not part of the value.'],
  examples: ['pass show stripe | edgefn secret put STRIPE_KEY', 'edgefn secret put TOKEN < file'],
  async run({ values, args: [name = ''], terminal }) {
    if (process.stdin.isTTY === true) {
      terminal.err('The value, then Ctrl-D at the beginning of a line:\n')
    }
    const value = secretValue(await Bun.stdin.bytes())
    const secret = await connect(values).post('/secrets', secretViewSchema, {
      name,
      value,
      ...(values.function === null ? {} : { function: values.function }),
    })
    if (values.output === 'json') printJson(terminal, secret)
    else terminal.out(`secret ${secret.name} has number ${secret.number}\n`)
    return EXIT.ok
  },
})

/** What was read, to the letter but for a line end at its end. Throws `invalid_config`, without showing it. */
export function secretValue(input: Uint8Array): string {
  const value = utf8(input).replace(/\r?\n$/, '')
  if (value.length >= 1 && value.length <= LIMITS.variableValueCharsMax) return value
  const limits = `1 to ${LIMITS.variableValueCharsMax} characters`
  throw new EdgefnError('invalid_config', `stdin: must have ${limits}, has ${value.length}.`)
}

/** A byte that is no text must not be replaced by another character, nor a mark at the beginning be dropped. */
function utf8(input: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(input)
  } catch {
    throw new EdgefnError(
      'invalid_config',
      'stdin: must be UTF-8 text; put bytes in as base64, say.',
    )
  }
}

export const secretList = command({
  name: 'secret list',
  summary: 'list secrets and which versions use them; never their values',
  args: [],
  options: CLIENT_OPTIONS,
  async run({ values, terminal }) {
    const secrets = await connect(values).list('/secrets', secretViewSchema)
    printList(terminal, values.output, secrets, {
      NAME: (item) => item.name,
      FUNCTION: (item) => item.function_name ?? 'all',
      NUMBER: (item) => String(item.number),
      UPDATED: (item) => timeText(item.updated_at),
      'USED BY': ({ users }) =>
        users
          .slice(0, 5)
          .map((user) => `${user.function_name} v${user.version}${user.live ? ' (live)' : ''}`)
          .join(', ') + (users.length > 5 ? ' …' : ''),
    })
    return EXIT.ok
  },
})

export const secretDelete = command({
  name: 'secret delete',
  summary: 'erase a secret that no version uses',
  args: [NAME_ARGUMENT],
  options: {
    ...FUNCTION_OPTION,
    force: toggle('also when versions that are not live use it; they can no longer be deployed'),
    ...CLIENT_OPTIONS,
  },
  async run({ values, args: [name = ''], terminal }) {
    const query = new URLSearchParams({ force: String(values.force) })
    if (values.function !== null) query.set('function', values.function)
    await connect(values).delete(`/secrets/${encodeURIComponent(name)}?${query}`)
    printDeleted(terminal, values, 'secret', name)
    return EXIT.ok
  },
})
