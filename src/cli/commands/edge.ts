/** `edgefn edge`: an edge node. */

import { EDGE_OPTIONS, edgeConfig } from '../../config/edge-options.ts'
import { createLog } from '../../telemetry/log.ts'
import { command } from '../command.ts'
import { serveUntilStopped } from '../serve.ts'

export const edge = command({
  name: 'edge',
  summary: 'run an edge node: serve the functions the control plane assigns to it',
  args: [],
  options: EDGE_OPTIONS,
  serves: true,
  notes: [
    'The first start needs a join token (edgefn token create, on the control plane); later ones use the',
    'credentials in the data directory. Needs libwasmedge 0.14 to 0.17.',
  ],
  examples: [
    'edgefn edge --pop tokyo-1 --cp https://cp.example.com --token efj_… --data-dir /var/lib/edgefn',
  ],
  async run({ values, modes }) {
    const config = edgeConfig(values)
    const log = createLog({ component: 'edge-agent', level: config.log_level })
    return serveUntilStopped(log, async () => {
      const running = await modes.startAgent(config, log)
      log.info('ready', {
        node_id: running.node_id,
        context: {
          listen: `${config.listen.host}:${running.port}`,
          metrics_listen: `${config.metrics_listen.host}:${running.metrics_port}`,
        },
      })
      return running
    })
  },
})
