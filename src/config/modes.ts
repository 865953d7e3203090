/** The complete configuration of each mode, as `config/load.ts` produces it: every field present, nothing optional. */

import type { LogLevel } from '../telemetry/log.ts'
import type { MqttAccount } from './mqtt-options.ts'

export interface Address {
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
}

export type ArtifactsConfig =
  | { readonly kind: 'fs'; readonly dir: string }
  | {
      readonly kind: 's3'
      readonly bucket: string
      readonly endpoint: string | null
      readonly region: string
      readonly access_key_id: string | null
      readonly secret_access_key: string | null
    }

export interface CpConfig {
  /** Absolute. Holds `edgefn.db`, `artifacts/`, `keys/`, `admin-key`, `cp.lock`. */
  readonly data_dir: string
  readonly listen: Address
  /** Where the embedded broker listens. Null: there is none; without another, everything works by polling [C11]. */
  readonly mqtt_listen: Address | null
  /** A broker of the operator's instead of the embedded one. */
  readonly mqtt_external: { readonly url: string; readonly account: MqttAccount } | null
  /** How nodes and developers reach the API; null: derived from `listen`. */
  readonly public_url: string | null
  /** How nodes reach the broker; null: the host of the public URL with the broker's port. */
  readonly mqtt_public_url: string | null
  readonly database_url: string
  readonly database_auth_token: string | null
  readonly artifacts: ArtifactsConfig
  readonly heartbeat_ms: number
  /** Versions are previewed at `v42--NAME.` and this; null: by header fields only. */
  readonly preview_domain: string | null
  readonly log_level: LogLevel
}

export interface EdgeConfig {
  readonly pop: string
  readonly cp: string
  /** Join token; null when the data directory holds credentials already. */
  readonly token: string | null
  /** Absolute. Holds `credentials.json`, `cache/`, `index.db`, `kv/`, `run/`. */
  readonly data_dir: string
  /** Null: the control plane names the node. */
  readonly node_id: string | null
  readonly listen: Address
  readonly metrics_listen: Address
  readonly workers: number
  readonly executor_threads_max: number
  /** Whether functions are compiled in the background; else they stay interpreted. */
  readonly compile: boolean
  /** Whether a worker more is kept started, to take the place of one that dies. */
  readonly spare_worker: boolean
  /** False switches MQTT off on this node. */
  readonly mqtt: boolean
  /** For a broker of the operator's, which knows nodes by accounts of its own. */
  readonly mqtt_account: MqttAccount
  readonly heartbeat_ms: number
  /** How often the node asks for its plan even when nobody told it to. */
  readonly sync_ms: number
  /** How often what was counted goes into a batch for the control plane. */
  readonly telemetry_ms: number
  readonly cache_bytes_max: number
  readonly cache_files_max: number
  readonly request_body_bytes_max: number
  /** What all hot instances of a worker may cost together; above 80 % of it the least recently used are given up. */
  readonly pool_bytes_max: number
  /** Ranges of addresses, in CIDR notation, that `http_fetch` may reach besides public ones. */
  readonly fetch_allow_private: readonly string[]
  /** Resident bytes at which a worker is replaced. */
  readonly worker_memory_bytes_max: number
  /** `auto`, `off`, or the folder of a control group that workers get groups of their own in. */
  readonly worker_cgroup: string
  /** Memory that should stay free on the machine; null: a tenth of it, at most 1 GiB. */
  readonly memory_reserve_bytes: number | null
  readonly log_level: LogLevel
}
