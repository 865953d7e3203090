/** What `/ready` says of a node that serves: what it needs, and what is told for information. */

import type { ReadyCheck } from './ops-server.ts'

interface ReadyParts {
  readonly workers: number
  readonly workers_wanted: number
  readonly closing: boolean
  readonly synced: boolean
  readonly revision: number
  readonly cp_connected: boolean
  /** Null: switched off. */
  readonly mqtt_connected: boolean | null
  readonly memory: ReadyCheck
  readonly drain: ReadyCheck
}

export function readyChecks(parts: ReadyParts): ReadyCheck[] {
  const { workers, workers_wanted, closing, synced, revision, mqtt_connected: mqtt } = parts
  return [
    {
      name: 'workers',
      ok: workers > 0 && !closing,
      required: true,
      detail: closing ? 'shutting down' : `${workers} of ${workers_wanted} serve`,
    },
    {
      name: 'state',
      ok: synced,
      required: true,
      detail: synced ? `revision ${revision}` : 'no plan was applied yet',
    },
    {
      name: 'control_plane',
      ok: parts.cp_connected,
      required: false,
      detail: 'the node serves without it, from its cache',
    },
    {
      name: 'mqtt',
      ok: mqtt ?? false,
      required: false,
      detail: mqtt === null ? 'switched off' : 'without it the node polls',
    },
    parts.memory,
    parts.drain,
  ]
}
