/** `edgefn token create`. */

import { defaulted, required } from '../../config/option.ts'
import { duration, matching } from '../../config/values.ts'
import { joinTokenViewSchema } from '../../protocol/api.ts'
import { popIdSchema } from '../../protocol/ids.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command } from '../command.ts'
import { connect } from '../connect.ts'
import { EXIT } from '../exit.ts'
import { printJson, timeText } from '../output.ts'

export const tokenCreate = command({
  name: 'token create',
  summary: 'make a join token and print the complete command to run on the node',
  args: [],
  options: {
    pop: required(matching(popIdSchema), { placeholder: 'POP', help: 'the POP the node joins' }),
    ttl: defaulted(duration('10s', '7d'), '15m', {
      placeholder: 'TIME',
      help: 'how long the token is good for; it is good for one node',
    }),
    ...CLIENT_OPTIONS,
  },
  async run({ values, terminal }) {
    const created = await connect(values).post('/join-tokens', joinTokenViewSchema, {
      pop_id: values.pop,
      ttl_seconds: Math.ceil(values.ttl / 1000),
    })
    if (values.output === 'json') {
      printJson(terminal, created)
      return EXIT.ok
    }
    terminal.err(`Run this on the node, once, before ${timeText(created.expires_at)} UTC:\n`)
    terminal.out(`${created.command}\n`)
    return EXIT.ok
  },
})
