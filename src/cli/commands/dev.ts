/** `edgefn dev`: control plane and edge node in one terminal, with temporary data. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { CP_OPTIONS, cpConfig } from '../../config/cp-options.ts'
import { EDGE_OPTIONS, edgeConfig } from '../../config/edge-options.ts'
import { FILE_OPTION } from '../../config/load.ts'
import type { Address } from '../../config/modes.ts'
import { defaulted, type Options, type Values } from '../../config/option.ts'
import { resolveOptions } from '../../config/resolve.ts'
import { address, addressText, choice } from '../../config/values.ts'
import { EdgefnError } from '../../errors.ts'
import { joinTokenViewSchema } from '../../protocol/api.ts'
import { createLog, LOG_LEVELS, type LogLevel } from '../../telemetry/log.ts'
import { createApiClient } from '../api-client.ts'
import { command } from '../command.ts'
import { readModule } from '../deploy/module-file.ts'
import { ABI_OPTION, ALLOW_HTTP_OPTION, ISOLATION_OPTION } from '../deploy/version-options.ts'
import { createDevFunctions } from '../dev-functions.ts'
import type { Modes } from '../modes.ts'
import { serveUntilStopped } from '../serve.ts'

const POP = 'dev'

export const dev = command({
  name: 'dev',
  summary: 'run control plane and edge node here, serve the files, redeploy them when they change',
  args: [{ name: 'FILE', help: 'a .wasm file; hello.wasm is served at /hello/*', count: 'any' }],
  options: {
    listen: defaulted(address, '127.0.0.1:8787', { placeholder: 'ADDR', help: 'functions' }),
    'log-level': defaulted(choice(...LOG_LEVELS), 'info', {
      placeholder: 'LEVEL',
      help: LOG_LEVELS.join(', '),
    }),
    ...ABI_OPTION,
    ...ALLOW_HTTP_OPTION,
    ...ISOLATION_OPTION,
    'fetch-allow-private': EDGE_OPTIONS['fetch-allow-private'],
    ...FILE_OPTION,
  },
  serves: true,
  notes: [
    'A single file is served at /* too. All data is temporary and removed at the end (Ctrl-C).',
  ],
  run({ values, args, terminal, modes }) {
    for (const file of args) readModule(file) // A mistyped name is told before anything starts.
    const log = createLog({ component: 'dev', level: 'warn' })
    return serveUntilStopped(log, async () => {
      const system = await startSystem(
        modes,
        values.listen,
        values['log-level'],
        values['fetch-allow-private'],
      )
      const client = createApiClient(system.api_url, system.key)
      terminal.err(`\nAPI ${system.api_url} with key ${system.key}\nCtrl-C ends it\n`)
      const functions = createDevFunctions({
        ...{ client, terminal, port: system.port },
        abi: values.abi,
        http_allow: values['allow-http'],
        isolation: values.isolation,
      })
      try {
        await functions.open(args)
      } catch (error) {
        await system.close()
        throw error
      }
      return {
        async close() {
          await functions.close()
          await system.close()
        },
      }
    })
  },
})

/** Both modes in this process (workers are processes of their own), joined by a token nobody sees. */
async function startSystem(
  modes: Modes,
  listen: Address,
  level: LogLevel,
  fetchAllowPrivate: readonly string[],
) {
  const dataDir = mkdtempSync(join(tmpdir(), 'edgefn-dev-'))
  process.on('exit', () => rmSync(dataDir, { recursive: true, force: true }))
  const closing: (() => Promise<void>)[] = []
  async function close(): Promise<void> {
    for (const step of closing.splice(0).reverse()) await step()
  }
  try {
    const cpLog = createLog({ component: 'cp', level: level === 'debug' ? level : 'warn' })
    const controlPlane = await modes.startControlPlane(devCpConfig(join(dataDir, 'cp')), cpLog)
    closing.push(() => controlPlane.close())
    const { api_url: apiUrl, owner_key: key } = controlPlane
    if (key === null) throw new EdgefnError('internal', 'A new control plane made no owner key.')
    const token = await createApiClient(apiUrl, key).post('/join-tokens', joinTokenViewSchema, {
      pop_id: POP,
    })
    const edgeLog = createLog({ component: 'edge-agent', level })
    const edge = devEdgeConfig(join(dataDir, 'edge'), apiUrl, token.token, listen, level)
    const node = await modes.startAgent(
      { ...edge, fetch_allow_private: fetchAllowPrivate },
      edgeLog,
    )
    closing.push(() => node.close())
    return { api_url: apiUrl, key, port: node.port, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Values of a table as if its flags had been typed; neither environment nor file has a say. */
function typed<O extends Options>(options: O, flags: Readonly<Record<string, string>>): Values<O> {
  const given = Object.entries(flags).map(([name, value]) => [name, [value]] as const)
  return resolveOptions(options, { flags: new Map(given), env: {}, file: null })
}

function devCpConfig(dataDir: string) {
  const free = '127.0.0.1:0'
  return cpConfig(typed(CP_OPTIONS, { 'data-dir': dataDir, listen: free, 'mqtt-listen': free }))
}

function devEdgeConfig(dir: string, cp: string, token: string, listen: Address, level: LogLevel) {
  const flags = {
    ...{ pop: POP, cp, token, 'data-dir': dir, workers: '1', 'log-level': level },
    listen: addressText(listen),
    'metrics-listen': '127.0.0.1:0',
  }
  return edgeConfig(typed(EDGE_OPTIONS, flags))
}
