/** `edgefn cp`: the control plane. */

import { join } from 'node:path'

import { CP_OPTIONS, cpConfig } from '../../config/cp-options.ts'
import { createLog } from '../../telemetry/log.ts'
import { command, type Terminal } from '../command.ts'
import { serveUntilStopped } from '../serve.ts'

export const cp = command({
  name: 'cp',
  summary: 'run the control plane: API, MQTT broker, database, module store',
  args: [],
  options: CP_OPTIONS,
  serves: true,
  notes: [
    'The first start makes an API key of the owner, prints it once and keeps it in DATA-DIR/admin-key.',
    'Logs are JSON lines on stdout, or readable ones when stdout is a terminal. SIGTERM and SIGINT close it.',
  ],
  examples: ['edgefn cp --data-dir /var/lib/edgefn --public-url https://cp.example.com'],
  async run({ values, terminal, modes }) {
    const config = cpConfig(values)
    const log = createLog({ component: 'cp', level: config.log_level })
    return serveUntilStopped(log, async () => {
      const running = await modes.startControlPlane(config, log)
      if (running.owner_key !== null) {
        printOwnerKey(terminal, running.owner_key, join(config.data_dir, 'admin-key'))
      }
      log.info('ready', { context: { api_url: running.api_url, mqtt_url: running.mqtt_url } })
      return running
    })
  },
})

/** On stderr and not through the log, which masks keys and may be shipped elsewhere. */
function printOwnerKey(terminal: Terminal, key: string, file: string): void {
  terminal.err(`\nAPI key of the owner, shown this once, kept in ${file}:\n\n  ${key}\n\n`)
}
