/** Options of `edgefn cp`, and the complete CpConfig made of their values. */

import { join, resolve } from 'node:path'

import { EdgefnError } from '../errors.ts'
import { LIMITS } from '../protocol/limits.ts'
import { routeHostSchema } from '../protocol/manifest.ts'
import { LOG_LEVELS } from '../telemetry/log.ts'
import { artifacts } from './artifacts.ts'
import { awsKeys, FILE_OPTION } from './load.ts'
import type { Address, ArtifactsConfig, CpConfig } from './modes.ts'
import { brokerUrl, MQTT_ACCOUNT_OPTIONS, mqttAccount } from './mqtt-options.ts'
import { defaulted, optional, type Options, type Values } from './option.ts'
import { address, addressOrOff, choice, duration, onOff, path, text, url } from './values.ts'

/** Where `edgefn cp` keeps its data unless told otherwise, and where commands on the same machine look for its key. */
export const CP_DATA_DIR = 'edgefn-data/cp'

/** Where the own broker listens unless told otherwise, or told to use another one. */
const MQTT_LISTEN_DEFAULT = '127.0.0.1:1883'

export const CP_OPTIONS = {
  'data-dir': defaulted(path, CP_DATA_DIR, {
    placeholder: 'DIR',
    help: 'database, modules, keys and admin-key',
  }),
  listen: defaulted(address, '127.0.0.1:8080', { placeholder: 'ADDR', help: 'the API' }),
  mqtt: defaulted(onOff, 'on', { placeholder: 'on|off', help: 'off: no MQTT, nodes poll' }),
  'mqtt-listen': optional((text) => addressOrOff(text) ?? 'off', {
    placeholder: 'ADDR',
    help: `the MQTT broker; off: none; default: ${MQTT_LISTEN_DEFAULT}`,
  }),
  'mqtt-url': optional(brokerUrl, {
    placeholder: 'URL',
    help: 'use the broker at mqtts://HOST:PORT instead of an own one',
  }),
  ...MQTT_ACCOUNT_OPTIONS,
  'public-url': optional(url('http', 'https'), {
    placeholder: 'URL',
    help: 'how nodes and developers reach the API; default: from --listen',
  }),
  'mqtt-public-url': optional(url('mqtt', 'mqtts'), {
    placeholder: 'URL',
    help: 'how nodes reach the broker; default: --mqtt-url, or host of the API and port of --mqtt-listen',
  }),
  'database-url': optional(databaseUrl, {
    placeholder: 'URL',
    help: 'file:PATH or libsql://HOST; default: file:DATA-DIR/edgefn.db',
  }),
  'database-auth-token': optional(text, {
    placeholder: 'TOKEN',
    help: 'for a remote database',
    secret: true,
  }),
  artifacts: optional(artifacts, {
    placeholder: 'STORE',
    help: 'fs:DIR or s3://BUCKET?endpoint=URL&region=NAME; default: fs:DATA-DIR/artifacts',
  }),
  's3-access-key-id': optional(text, {
    placeholder: 'ID',
    help: 'default: AWS_ACCESS_KEY_ID',
    secret: true,
  }),
  's3-secret-access-key': optional(text, {
    placeholder: 'KEY',
    help: 'default: AWS_SECRET_ACCESS_KEY',
    secret: true,
  }),
  'heartbeat-interval': defaulted(duration('100ms', '1h'), `${LIMITS.heartbeatMsDefault / 1000}s`, {
    placeholder: 'TIME',
    help: 'how often nodes report; two missed: degraded, three: offline',
  }),
  'preview-domain': optional(domain, {
    placeholder: 'NAME',
    help: 'versions are previewed at v42--FUNCTION.NAME, which must lead to the nodes; default: by header fields only',
  }),
  'log-level': defaulted(choice(...LOG_LEVELS), 'info', {
    placeholder: 'LEVEL',
    help: LOG_LEVELS.join(', '),
  }),
  ...FILE_OPTION,
} as const satisfies Options

/** The configuration of the control plane. Throws `invalid_config` when options do not go together. */
export function cpConfig(values: Values<typeof CP_OPTIONS>): CpConfig {
  const dataDir = values['data-dir']
  return {
    data_dir: dataDir,
    listen: values.listen,
    ...brokerConfig(values),
    public_url: values['public-url'],
    mqtt_public_url: values['mqtt-public-url'],
    database_url: values['database-url'] ?? `file:${join(dataDir, 'edgefn.db')}`,
    database_auth_token: values['database-auth-token'],
    artifacts: artifactsConfig(values),
    heartbeat_ms: values['heartbeat-interval'],
    preview_domain: values['preview-domain'],
    log_level: values['log-level'],
  }
}

function brokerConfig(
  values: Values<typeof CP_OPTIONS>,
): Pick<CpConfig, 'mqtt_listen' | 'mqtt_external'> {
  const account = mqttAccount(values)
  const url = values['mqtt-url']
  const listen = values['mqtt-listen']
  if (url === null) {
    const given = Object.values(account).some((value) => value !== null)
    if (given) {
      const message =
        'mqtt-username, mqtt-password and the mqtt files belong to mqtt-url, which is not given.'
      throw new EdgefnError('invalid_config', message)
    }
    return { mqtt_listen: values.mqtt ? ownBroker(listen) : null, mqtt_external: null }
  }
  if (listen !== null && listen !== 'off') {
    const message =
      'mqtt-listen cannot be given with mqtt-url: beside that broker no own one is opened.'
    throw new EdgefnError('invalid_config', message)
  }
  if (!values.mqtt) {
    throw new EdgefnError('invalid_config', 'mqtt-url cannot be given with mqtt off.')
  }
  return { mqtt_listen: null, mqtt_external: { url, account } }
}

function ownBroker(listen: Address | 'off' | null): Address | null {
  return listen === 'off' ? null : (listen ?? address(MQTT_LISTEN_DEFAULT))
}

function artifactsConfig(values: Values<typeof CP_OPTIONS>): ArtifactsConfig {
  const store = values.artifacts ?? { kind: 'fs', dir: join(values['data-dir'], 'artifacts') }
  if (store.kind === 'fs') return store
  const id = values['s3-access-key-id']
  const key = values['s3-secret-access-key']
  if ((id === null) !== (key === null)) {
    const message = 's3-access-key-id and s3-secret-access-key must be given together.'
    throw new EdgefnError('invalid_config', message)
  }
  const keys = id === null ? awsKeys() : { access_key_id: id, secret_access_key: key }
  return { ...store, ...keys }
}

/** A name below which the DNS leads to nodes, as a request's Host has it. */
function domain(value: string): string {
  const name = value.toLowerCase()
  if (name !== '*' && !name.startsWith('*.') && routeHostSchema.safeParse(name).success) return name
  throw new Error('must be a host name such as preview.example.com')
}

/** A libSQL URL; the path of a local file is made absolute. */
function databaseUrl(value: string): string {
  if (/^file:[^?]+/.test(value) && !value.startsWith('file://')) {
    return `file:${resolve(value.slice('file:'.length))}`
  }
  if (/^(?:file:\/\/\/|(?:libsql|https?|wss?):\/\/[^/])/.test(value)) return value
  throw new Error('must be file:PATH, or a URL that starts with libsql://, https:// or wss://')
}
