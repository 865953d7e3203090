/** `edgefn nodes drain|undrain|cordon|uncordon|sync|purge-cache|restart-workers|set-log-level|isolate|remove|commands` [C8]. */

import { defaulted, optional, toggle } from '../../config/option.ts'
import { choice, duration, text, wholeSeconds } from '../../config/values.ts'
import { EdgefnError } from '../../errors.ts'
import { commandStateSchema, commandViewSchema, type CommandView } from '../../protocol/commands.ts'
import { LOG_LEVELS } from '../../telemetry/log.ts'
import type { ApiClient } from '../api-client.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command, type Command, type Terminal } from '../command.ts'
import { connect } from '../connect.ts'
import { EXIT, type ExitCode } from '../exit.ts'
import { printJson, printList, timeText, type OutputFormat } from '../output.ts'
import { createProgress } from '../progress.ts'

/** Milliseconds between looks at a command that is waited for: at first, and when it takes long. */
const lookMsMin = 100
const lookMsMax = 1_000

const NODE = { name: 'NODE', help: 'id of a node', count: 'one' } as const
const WAIT_OPTIONS = {
  timeout: defaulted(duration('1s', '1d'), '120s', {
    placeholder: 'TIME',
    help: 'how long to wait for the result',
  }),
  'no-wait': toggle('return when the control plane has recorded it'),
  ttl: optional(wholeSeconds('1s', '7d'), {
    placeholder: 'TIME',
    help: 'a node that is away runs it when it returns within this time; default: 15m, remove: 60s',
  }),
} as const
const OPTIONS = { ...WAIT_OPTIONS, ...CLIENT_OPTIONS }

interface Asked {
  readonly timeout: number
  readonly 'no-wait': boolean
  readonly ttl: number | null
  readonly output: OutputFormat
}

/** Asks the node, waits for what becomes of it, and says so. */
async function ask(
  client: ApiClient,
  terminal: Terminal,
  values: Asked,
  nodeId: string,
  body: { readonly type: CommandView['type']; readonly params?: Record<string, unknown> },
): Promise<ExitCode> {
  const ttl = values.ttl === null ? {} : { ttl_seconds: values.ttl / 1000 }
  const path = `/nodes/${encodeURIComponent(nodeId)}/commands`
  const asked = await client.post(path, commandViewSchema, { ...body, ...ttl })
  const seen = values['no-wait'] ? asked : await waitFor(client, terminal, asked, values.timeout)
  if (values.output === 'json') printJson(terminal, seen)
  else say(terminal, seen)
  const isGood = seen.state === 'succeeded' || (values['no-wait'] && !isFinished(seen))
  return isGood ? EXIT.ok : EXIT.notDeployed
}

function isFinished({ state }: CommandView): boolean {
  return state !== 'pending' && state !== 'delivered'
}

async function waitFor(
  client: ApiClient,
  terminal: Terminal,
  asked: CommandView,
  msMax: number,
): Promise<CommandView> {
  const giveUpAt = performance.now() + msMax
  const progress = createProgress(terminal)
  let seen = asked
  for (let ms = lookMsMin; !isFinished(seen) && performance.now() < giveUpAt;) {
    progress.status(`${seen.type} on ${seen.node_id}: ${seen.state}`)
    await Bun.sleep(ms)
    ms = Math.min(ms * 1.2, lookMsMax)
    seen = await client.get(`/commands/${seen.id}`, commandViewSchema)
  }
  progress.done()
  return seen
}

function say(terminal: Terminal, { id, type, node_id, state, detail, error }: CommandView): void {
  const figures = Object.entries(detail).map(([name, value]) => `${name}: ${value}`)
  const more = figures.length === 0 ? '' : ` (${figures.join(', ')})`
  if (state === 'succeeded') terminal.out(`${type} on ${node_id}: done${more}\n`)
  else if (error !== null) {
    terminal.err(`error: ${type} on ${node_id} ${state}: ${error.message} (${error.code}) ${id}\n`)
  } else terminal.err(`${type} on ${node_id}: ${state}; command ${id}\n`)
}

/** A command without parameters. */
function simple(word: string, type: CommandView['type'], summary: string): Command {
  return command({
    name: `nodes ${word}`,
    summary,
    args: [NODE],
    options: OPTIONS,
    run: ({ values, args: [id = ''], terminal }) =>
      ask(connect(values), terminal, values, id, { type }),
  })
}

const purgeCache = command({
  name: 'nodes purge-cache',
  summary: 'remove cached modules of a node; those in service are fetched again',
  args: [NODE],
  options: {
    all: toggle('all modules; default: those that are not in service'),
    function: optional(text, { placeholder: 'FUNCTION', help: 'only those of this function' }),
    ...OPTIONS,
  },
  run({ values, args: [id = ''], terminal }) {
    if (values.all && values.function !== null) {
      throw new EdgefnError('invalid_config', '--all: cannot be given together with --function.')
    }
    const named = values.function
    const params =
      named === null
        ? { scope: values.all ? 'all' : 'unused' }
        : { scope: 'function', function: named }
    return ask(connect(values), terminal, values, id, { type: 'purge_cache', params })
  },
})

const setLogLevel = command({
  name: 'nodes set-log-level',
  summary: 'have a node log more, or less, than it is configured to',
  args: [NODE, { name: 'LEVEL', help: 'debug, info, warn or error', count: 'one' }],
  options: {
    for: optional(wholeSeconds('1s', '7d'), {
      placeholder: 'TIME',
      help: 'then as configured again; default: until the next set-log-level',
    }),
    ...OPTIONS,
  },
  run({ values, args: [id = '', level = ''], terminal }) {
    const checked = LOG_LEVELS.find((known) => known === level)
    if (checked === undefined) {
      throw new EdgefnError(
        'invalid_config',
        `LEVEL: must be ${LOG_LEVELS.join(', ')}; got ${level}.`,
      )
    }
    const seconds = values.for === null ? {} : { for_seconds: values.for / 1000 }
    const params = { level: checked, ...seconds }
    return ask(connect(values), terminal, values, id, { type: 'set_log_level', params })
  },
})

const isolate = command({
  name: 'nodes isolate',
  summary: 'drill: have a node act as if the control plane were gone',
  args: [NODE],
  options: {
    for: optional(wholeSeconds('1s', '24h'), { placeholder: 'TIME', help: 'for how long' }),
    ...OPTIONS,
  },
  notes: [
    'The node serves on from its cache and talks to no control plane, broker or artifact store until the time is over.',
    'Nothing can end it earlier. Its result comes afterwards.',
  ],
  examples: ['edgefn nodes isolate tokyo-1-a --for 10m'],
  run({ values, args: [id = ''], terminal }) {
    if (values.for === null) throw new EdgefnError('invalid_config', '--for: must be given.')
    const params = { for_seconds: values.for / 1000 }
    const timeout = values.timeout + values.for
    const waiting = { ...values, timeout }
    return ask(connect(values), terminal, waiting, id, { type: 'isolate', params })
  },
})

const commandsList = command({
  name: 'nodes commands',
  summary: 'list what was asked of a node and what became of it, newest first',
  args: [NODE],
  options: {
    state: optional(choice(...commandStateSchema.options), {
      placeholder: 'STATE',
      help: `only those that are ${commandStateSchema.options.join(', ')}`,
    }),
    ...CLIENT_OPTIONS,
  },
  async run({ values, args: [id = ''], terminal }) {
    const path = `/nodes/${encodeURIComponent(id)}/commands`
    const filters = { state: values.state }
    const commands = await connect(values).list(path, commandViewSchema, filters)
    printList(terminal, values.output, commands, {
      CREATED: (item) => timeText(item.created_at),
      TYPE: (item) => item.type,
      STATE: (item) => item.state,
      DEADLINE: (item) => timeText(item.deadline_at),
      FINISHED: (item) => timeText(item.finished_at),
      BY: (item) => item.created_by,
      ID: (item) => item.id,
      RESULT: (item) =>
        item.error === null
          ? Object.entries(item.detail)
              .map(([name, value]) => `${name}=${value}`)
              .join(' ')
          : `${item.error.message} (${item.error.code})`,
    })
    return EXIT.ok
  },
})

export const NODE_COMMANDS: readonly Command[] = [
  simple('drain', 'drain', 'have a node refuse new requests, until undrain; running ones end'),
  simple('undrain', 'undrain', 'have a drained node serve again'),
  simple('cordon', 'cordon', 'have deployments pass a node by; it serves on what it has'),
  simple(
    'uncordon',
    'uncordon',
    'give a cordoned node what it missed, and deployments from now on',
  ),
  simple('sync', 'sync', 'have a node ask for its plan now'),
  purgeCache,
  simple('restart-workers', 'restart_workers', 'replace the workers of a node one after the other'),
  setLogLevel,
  isolate,
  simple('remove', 'remove', 'take a node out: drained, its credentials erased, deleted'),
  commandsList,
]
