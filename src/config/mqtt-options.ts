/** How a broker of the operator's is reached: options that the control plane and the edge share, and what they are made into. */

import { readFileSync } from 'node:fs'

import { EdgefnError, errorMessage } from '../errors.ts'
import { optional, type Options, type Parse, type Values } from './option.ts'
import { path, text, url } from './values.ts'

/** An account at a broker, as configured. Files are read with every connection, so that renewed ones need no restart. */
export interface MqttAccount {
  /** Null: the control plane's or the node's own name. */
  readonly username: string | null
  readonly password: string | null
  readonly password_file: string | null
  /** PEM of who signs the broker's certificate; null: the authorities that the program knows. */
  readonly ca_file: string | null
  /** PEM of a certificate to connect with, and its key. */
  readonly cert_file: string | null
  readonly key_file: string | null
}

/** What a connection is made with. */
export interface MqttSecrets {
  readonly password?: string
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

export const MQTT_ACCOUNT_OPTIONS = {
  'mqtt-username': optional(text, {
    placeholder: 'NAME',
    help: "account at the operator's broker; default: edgefn-cp for the control plane, its id for a node",
  }),
  'mqtt-password': optional(text, {
    placeholder: 'PASSWORD',
    help: 'of that account',
    secret: true,
  }),
  'mqtt-password-file': optional(path, {
    placeholder: 'FILE',
    help: 'file that holds the password; instead of --mqtt-password',
  }),
  'mqtt-ca-file': optional(path, {
    placeholder: 'FILE',
    help: "PEM of the authority that signed the broker's certificate",
  }),
  'mqtt-cert-file': optional(path, {
    placeholder: 'FILE',
    help: 'PEM of a certificate to connect with; needs --mqtt-key-file',
  }),
  'mqtt-key-file': optional(path, { placeholder: 'FILE', help: 'PEM of its key' }),
} as const satisfies Options

export const NO_MQTT_ACCOUNT: MqttAccount = {
  username: null,
  password: null,
  password_file: null,
  ca_file: null,
  cert_file: null,
  key_file: null,
}

/** Throws `invalid_config` when two of the options do not go together. */
export function mqttAccount(values: Values<typeof MQTT_ACCOUNT_OPTIONS>): MqttAccount {
  const account = {
    username: values['mqtt-username'],
    password: values['mqtt-password'],
    password_file: values['mqtt-password-file'],
    ca_file: values['mqtt-ca-file'],
    cert_file: values['mqtt-cert-file'],
    key_file: values['mqtt-key-file'],
  }
  if (account.password !== null && account.password_file !== null) {
    throw invalid('mqtt-password and mqtt-password-file cannot both be given.')
  }
  if ((account.cert_file === null) !== (account.key_file === null)) {
    throw invalid('mqtt-cert-file and mqtt-key-file must be given together.')
  }
  return account
}

/** Reads the files of an account. Throws `invalid_config` naming the option of a file that cannot be read. */
export function readMqttSecrets(account: MqttAccount): MqttSecrets {
  const read = (option: string, file: string | null): string | undefined => {
    if (file === null) return undefined
    try {
      return readFileSync(file, 'utf8')
    } catch (cause) {
      throw invalid(`${option} ${file} cannot be read: ${errorMessage(cause)}.`, cause)
    }
  }
  // An editor's line break at the end of the file is no part of a password.
  const password =
    account.password ?? read('mqtt-password-file', account.password_file)?.replace(/\r?\n$/, '')
  const ca = read('mqtt-ca-file', account.ca_file)
  const cert = read('mqtt-cert-file', account.cert_file)
  const key = read('mqtt-key-file', account.key_file)
  return {
    ...(password === undefined ? {} : { password }),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  }
}

/** The URL of a broker: where it is and nothing else, so that it can be shown and given to nodes. */
export const brokerUrl: Parse<string> = (value) => {
  const parsed = new URL(url('mqtt', 'mqtts')(value))
  if (parsed.username !== '' || parsed.password !== '') {
    throw new Error('must have no account in it: give --mqtt-username and --mqtt-password-file')
  }
  if (parsed.pathname.length > 1 || parsed.search !== '' || parsed.hash !== '') {
    throw new Error('must be mqtts://HOST:PORT or mqtt://HOST:PORT')
  }
  return `${parsed.protocol}//${parsed.host}`
}

function invalid(message: string, cause?: unknown): EdgefnError {
  return new EdgefnError('invalid_config', message, cause === undefined ? {} : { cause })
}
