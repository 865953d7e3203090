/** The two modes as the command line sees them; `src/main.ts` hands them over, loaded only when asked for. */

import type { CpConfig, EdgeConfig } from '../config/modes.ts'
import type { Log } from '../telemetry/log.ts'

export interface RunningControlPlane {
  readonly api_url: string
  readonly mqtt_url: string | null
  /** The owner's API key, when this start created it. */
  readonly owner_key: string | null
  close(): Promise<void>
}

export interface RunningNode {
  readonly node_id: string
  readonly port: number
  readonly metrics_port: number
  /** Resolves with why when the node has left its control plane. */
  readonly left: Promise<string>
  close(): Promise<void>
}

export interface Modes {
  startControlPlane(config: CpConfig, log: Log): Promise<RunningControlPlane>
  startAgent(config: EdgeConfig, log: Log): Promise<RunningNode>
}
