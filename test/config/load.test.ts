/** Precedence of flags, variables, file and defaults, and refusals that name what is wrong and where it came from. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'

import fc from 'fast-check'

import { CP_OPTIONS, cpConfig } from '../../src/config/cp-options.ts'
import { EDGE_OPTIONS, edgeConfig } from '../../src/config/edge-options.ts'
import { awsKeys, loadOptions } from '../../src/config/load.ts'
import { NO_MQTT_ACCOUNT } from '../../src/config/mqtt-options.ts'
import { variableOf, type Options } from '../../src/config/option.ts'
import { resolveOptions, type Environment, type KnownOptions } from '../../src/config/resolve.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'edgefn-config-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const KNOWN: KnownOptions = new Map<string, readonly string[]>([
  ...Object.keys(EDGE_OPTIONS).map((name) => [name, ['edge']] as const),
  ...Object.keys(CP_OPTIONS).map((name) => [name, ['cp']] as const),
])

function load<O extends Options>(
  options: O,
  flags: Record<string, string>,
  env: Environment = {},
  yaml: string | null = null,
) {
  const given = new Map(Object.entries(flags).map(([name, value]) => [name, [value]]))
  if (yaml !== null) {
    const file = join(folder, 'edgefn.yaml')
    writeFileSync(file, yaml)
    given.set('config', [file])
  }
  return loadOptions({ options, flags: given, known: KNOWN, strict: true }, env)
}

describe('defaults', () => {
  test('of the control plane', () => {
    expect(cpConfig(load(CP_OPTIONS, { 'data-dir': '/data' }))).toEqual({
      data_dir: '/data',
      listen: { host: '127.0.0.1', port: 8080 },
      mqtt_listen: { host: '127.0.0.1', port: 1883 },
      mqtt_external: null,
      public_url: null,
      mqtt_public_url: null,
      database_url: 'file:/data/edgefn.db',
      database_auth_token: null,
      artifacts: { kind: 'fs', dir: '/data/artifacts' },
      heartbeat_ms: 30_000,
      preview_domain: null,
      log_level: 'info',
    })
  })

  test('of an edge node', () => {
    const values = load(EDGE_OPTIONS, { pop: 'tokyo-1', 'data-dir': '/data', workers: '3' })
    const machineBytes = Math.min(totalmem(), process.constrainedMemory())
    expect(edgeConfig(values) as object).toEqual({
      pop: 'tokyo-1',
      cp: 'http://127.0.0.1:8080',
      token: null,
      data_dir: '/data',
      node_id: null,
      listen: { host: '0.0.0.0', port: 8787 },
      metrics_listen: { host: '127.0.0.1', port: 9090 },
      workers: 3,
      executor_threads_max: 8,
      spare_worker: true,
      compile: true,
      mqtt: true,
      mqtt_account: NO_MQTT_ACCOUNT,
      heartbeat_ms: 30_000,
      sync_ms: 30_000,
      telemetry_ms: 10_000,
      cache_bytes_max: 10 * 2 ** 30,
      cache_files_max: 1000,
      request_body_bytes_max: 10 * 2 ** 20,
      pool_bytes_max: Math.floor(Math.min(2 ** 30, machineBytes / 4 / 3)),
      fetch_allow_private: [],
      worker_memory_bytes_max: 2 * 2 ** 30,
      worker_cgroup: 'auto',
      memory_reserve_bytes: null,
      log_level: 'info',
    })
  })

  test('the pools of a small worker get half of its memory, or what they are given', () => {
    const given = { pop: 'tokyo-1', workers: '1', 'worker-memory': '128MiB' }
    expect(edgeConfig(load(EDGE_OPTIONS, given)).pool_bytes_max).toBe(64 * 2 ** 20)
    const wanted = { ...given, 'pool-memory': '3MiB' }
    expect(edgeConfig(load(EDGE_OPTIONS, wanted)).pool_bytes_max).toBe(3 * 2 ** 20)
  })

  test('every default is a value its own option accepts', () => {
    for (const options of [CP_OPTIONS, { ...EDGE_OPTIONS, pop: EDGE_OPTIONS.cp }]) {
      expect(() => resolveOptions(options, { flags: new Map(), env: {}, file: null })).not.toThrow()
    }
  })
})

test('a flag goes before its variable, that before the file, that before the default', () => {
  const name = fc.constantFrom('listen', 'metrics-listen')
  const port = fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: null })
  fc.assert(
    fc.property(name, port, port, port, (option, flag, variable, kept) => {
      const flags = { pop: 'p', ...(flag === null ? {} : { [option]: `127.0.0.1:${flag}` }) }
      const env = variable === null ? {} : { [variableOf(option)]: `127.0.0.1:${variable}` }
      const yaml = kept === null ? null : `${option}: "127.0.0.1:${kept}"\n`
      const values = load(EDGE_OPTIONS, flags, env, yaml)
      const fallback = option === 'listen' ? 8787 : 9090
      expect(values[option].port).toBe(flag ?? variable ?? kept ?? fallback)
    }),
  )
})

test('paths are made absolute, an empty variable counts as not set', () => {
  const values = load(CP_OPTIONS, {}, { EDGEFN_DATA_DIR: 'x', EDGEFN_LISTEN: '' })
  expect(cpConfig(values)).toMatchObject({
    data_dir: join(process.cwd(), 'x'),
    database_url: `file:${join(process.cwd(), 'x/edgefn.db')}`,
    listen: { port: 8080 },
  })
})

test('off switches the broker off, in a file too', () => {
  expect(cpConfig(load(CP_OPTIONS, {}, {}, 'mqtt-listen: off\n')).mqtt_listen).toBeNull()
})

describe('MQTT', () => {
  const cp = (...flags: [string, string][]) => cpConfig(load(CP_OPTIONS, Object.fromEntries(flags)))

  test('off means no broker on the control plane, and none for the node', () => {
    expect(cp(['mqtt', 'off'])).toMatchObject({ mqtt_listen: null, mqtt_external: null })
    const edge = load(EDGE_OPTIONS, { pop: 'tokyo-1', mqtt: 'off' })
    expect(edgeConfig(edge).mqtt).toBe(false)
  })

  test("a broker of the operator's takes the place of the embedded one", () => {
    const { mqtt_listen, mqtt_external } = cp(
      ['mqtt-url', 'mqtts://broker.example.com:8883/'],
      ['mqtt-username', 'edgefn'],
      ['mqtt-password-file', '/etc/edgefn/mqtt'],
    )
    expect(mqtt_listen).toBeNull()
    expect(mqtt_external).toEqual({
      url: 'mqtts://broker.example.com:8883',
      account: { ...NO_MQTT_ACCOUNT, username: 'edgefn', password_file: '/etc/edgefn/mqtt' },
    })
  })

  test.each([
    [[['mqtt-url', 'mqtts://me:secret@broker']], 'must have no account in it'],
    [[['mqtt-url', 'mqtts://broker/topics']], 'must be mqtts://HOST:PORT'],
    [[['mqtt-url', 'http://broker']], 'mqtt://'],
    [
      [
        ['mqtt-url', 'mqtt://broker'],
        ['mqtt', 'off'],
      ],
      'mqtt off',
    ],
    [
      [
        ['mqtt-url', 'mqtt://broker'],
        ['mqtt-listen', '127.0.0.1:1883'],
      ],
      'mqtt-listen cannot be given with mqtt-url',
    ],
    [[['mqtt-password', 'x']], 'belong to mqtt-url'],
    [
      [
        ['mqtt-url', 'mqtt://broker'],
        ['mqtt-cert-file', '/c'],
      ],
      'must be given together',
    ],
  ] as [[string, string][], string][])('%j is refused', (flags, message) => {
    expect(() => cp(...flags)).toThrow(message)
  })
})

describe('S3 keys', () => {
  test('come from options of their own', () => {
    const flags = { artifacts: 's3://bucket', 's3-access-key-id': 'id' }
    const env = { EDGEFN_S3_SECRET_ACCESS_KEY: 'secret' }
    expect(cpConfig(load(CP_OPTIONS, flags, env)).artifacts).toMatchObject({
      access_key_id: 'id',
      secret_access_key: 'secret',
    })
  })

  test('one without the other is refused', () => {
    const values = load(CP_OPTIONS, { artifacts: 's3://bucket', 's3-access-key-id': 'id' })
    expect(() => cpConfig(values)).toThrow('must be given together')
  })

  test('are otherwise found as the AWS tools find them', () => {
    const env = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret' }
    expect(awsKeys(env)).toEqual({ access_key_id: 'id', secret_access_key: 'secret' })
    expect(awsKeys({})).toEqual({ access_key_id: null, secret_access_key: null })
  })
})

describe('refusals say what is wrong and where it came from', () => {
  interface Case {
    readonly flags?: Record<string, string>
    readonly env?: Environment
    readonly yaml?: string
    readonly says: string | RegExp
  }
  const cases: readonly Case[] = [
    { says: 'pop must be given: --pop POP, EDGEFN_POP, or pop in the file of --config' },
    { flags: { pop: 'Tokyo' }, says: /^--pop: must be .*, got "Tokyo"\.$/ },
    { env: { EDGEFN_POP: 'Tokyo' }, says: /^EDGEFN_POP: must be .*, got "Tokyo"\.$/ },
    { yaml: 'pop: Tokyo\n', says: /^pop in .*edgefn\.yaml: must be .*, got "Tokyo"\.$/ },
    { flags: { pop: 'p', workers: '0' }, says: '--workers: must be a whole number from 1 to 256' },
    { flags: { pop: 'p', mqtt: 'yes' }, says: '--mqtt: must be on or off, got "yes"' },
    { env: { EDGEFN_PO: 'x' }, says: 'EDGEFN_PO: unknown variable. Did you mean EDGEFN_POP?' },
    { yaml: 'lisen: ":1"\n', says: /lisen in .*: unknown key\. Did you mean listen\?/ },
    { yaml: 'mqtt-listen: ":1"\n', says: /mqtt-listen in .*: is an option of edgefn cp only/ },
    { yaml: 'pop: a\npop: b\n', says: /is not YAML: .*unique/ },
    { yaml: 'pop: [a, b]\n', says: /pop in .*: must be given only once/ },
    { yaml: 'pop:\n', says: /pop in .*: has no value/ },
    { yaml: 'pop: {a: b}\n', says: /pop in .*: must be a value/ },
    { yaml: '- pop\n', says: 'must be a mapping' },
    { env: { EDGEFN_CONFIG: '/none.yaml' }, says: '/none.yaml: cannot be read' },
  ]
  for (const { flags = {}, env = {}, yaml = null, says } of cases) {
    test(String(says), () => {
      expect(() => load(EDGE_OPTIONS, flags, env, yaml)).toThrow(says)
    })
  }

  test('but never show a secret', () => {
    const flags = { pop: 'p', token: '' }
    expect(() => load(EDGE_OPTIONS, flags)).toThrow(/^--token: must not be empty\.$/)
  })

  test('nor the account of a URL that may have none', () => {
    const flags = { 'mqtt-url': 'mqtts://me:secret@broker:1883/x' }
    expect(() => load(CP_OPTIONS, flags)).toThrow(/got "mqtts:\/\/\*\*\*@broker:1883\/x"\.$/)
  })

  test.each([
    ['mqtt://cp:S3/c?r#et@broker:1883', 'mqtt://***@broker:1883'],
    ['mqtt://cp:S3@cret@broker', 'mqtt://***@broker'],
    ['cp:S3cret@broker:1883', '***@broker:1883'],
  ])('also where its password is what makes %s no URL', (given, shown) => {
    expect(() => load(CP_OPTIONS, { 'mqtt-url': given })).toThrow(`got "${shown}".`)
  })

  test('and pass over what a container runtime derives from a service name', () => {
    const env = {
      EDGEFN_CP_SERVICE_HOST: '10.0.0.1',
      EDGEFN_CP_SERVICE_PORT_HTTP: '80',
      EDGEFN_CP_PORT: 'tcp://10.0.0.1:80',
      EDGEFN_PORT_80_TCP_ADDR: '10.0.0.1',
    }
    expect(() => load(CP_OPTIONS, {}, env)).not.toThrow()
  })
})

test('a client command passes over the keys of the server beside it', () => {
  const file = join(folder, 'shared.yaml')
  writeFileSync(file, 'mqtt-listen: ":1"\nlisten: ":2"\n')
  const request = { options: EDGE_OPTIONS, flags: new Map([['pop', ['p']]]), known: KNOWN }
  const env = { EDGEFN_CONFIG: file }
  expect(loadOptions({ ...request, strict: false }, env).listen.port).toBe(2)
  expect(() => loadOptions({ ...request, strict: true }, env)).toThrow('edgefn cp only')
})
