/** Debian's mosquitto as an operator would run it for edgefn: TLS with an authority of its own, accounts, docs/mosquitto.acl. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { NO_MQTT_ACCOUNT, type MqttAccount } from '../../../src/config/mqtt-options.ts'
import { connect, type TestClient } from './clients.ts'

const ACL = resolve(import.meta.dir, '../../../docs/mosquitto.acl')
const startTriesMax = 200

export class Mosquitto implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'edgefn-mosquitto-'))
  readonly url: string
  readonly #port: number
  #child: Bun.Subprocess | null = null

  private constructor(port: number) {
    this.#port = port
    this.url = `mqtts://localhost:${port}`
  }

  /** Its clients prove who they are by certificates; their passwords are not asked for. */
  static async startWithCertificates(names: readonly string[]): Promise<Mosquitto> {
    const broker = new Mosquitto(await freePort())
    await broker.#makeCertificates()
    for (const name of names) broker.#certify(name)
    await broker.#configure(['require_certificate true', 'use_identity_as_username true'])
    return broker
  }

  /** Starts one with accounts for the control plane, a watcher and these nodes; each one's password is `<name>-secret`. */
  static async start(nodes: readonly string[]): Promise<Mosquitto> {
    const broker = new Mosquitto(await freePort())
    await broker.#makeCertificates()
    broker.setAccounts(['edgefn-cp', 'edgefn-watcher', ...nodes])
    await broker.#configure([`password_file ${broker.#path('passwords')}`])
    return broker
  }

  async #configure(lines: readonly string[]): Promise<void> {
    const config = [
      `listener ${this.#port} 127.0.0.1`,
      'user root',
      'allow_anonymous false',
      ...lines,
      `acl_file ${this.#path('acl')}`,
      `cafile ${this.#path('ca.pem')}`,
      `certfile ${this.#path('broker.pem')}`,
      `keyfile ${this.#path('broker.key')}`,
      'persistence false',
      'max_queued_messages 20000',
    ]
    writeFileSync(this.#path('mosquitto.conf'), `${config.join('\n')}\n`)
    await Bun.write(this.#path('acl'), Bun.file(ACL), { mode: 0o600 })
    await this.restart()
  }

  certificateOf(name: string): MqttAccount {
    return {
      ...NO_MQTT_ACCOUNT,
      ca_file: this.caFile,
      cert_file: this.#path(`${name}.pem`),
      key_file: this.#path(`${name}.key`),
    }
  }

  account(name: string): MqttAccount {
    const password = `${name}-secret`
    return { ...NO_MQTT_ACCOUNT, username: name, password, ca_file: this.#path('ca.pem') }
  }

  get caFile(): string {
    return this.#path('ca.pem')
  }

  async connect(name: string, clientId = name): Promise<TestClient> {
    const ca = await Bun.file(this.caFile).text()
    return connect(this.url, { clientId, username: name, password: `${name}-secret`, ca })
  }

  async restart(): Promise<void> {
    await this.kill()
    const child = Bun.spawn(['/usr/sbin/mosquitto', '-c', this.#path('mosquitto.conf')], {
      stdout: 'ignore',
      stderr: Bun.file(this.#path('log')),
    })
    this.#child = child
    for (let tries = 0; tries < startTriesMax; tries += 1) {
      if (child.exitCode !== null) break
      try {
        ;(
          await Bun.connect({ hostname: '127.0.0.1', port: this.#port, socket: { data() {} } })
        ).end()
        return
      } catch {
        await Bun.sleep(20)
      }
    }
    throw new Error(`mosquitto does not start: ${await Bun.file(this.#path('log')).text()}`)
  }

  async kill(): Promise<void> {
    const child = this.#child
    this.#child = null
    child?.kill('SIGKILL')
    await child?.exited
  }

  /** The password file anew; mosquitto reads it when it starts. */
  setAccounts(names: readonly string[]): void {
    writeFileSync(this.#path('passwords'), names.map((name) => `${name}:${name}-secret\n`).join(''))
    run(['mosquitto_passwd', '-U', this.#path('passwords')])
  }

  async #makeCertificates(): Promise<void> {
    const [ca, caKey] = [this.#path('ca.pem'), this.#path('ca.key')]
    run(['openssl', 'req', '-x509', ...newKey(caKey), '-out', ca, '-subj', '/CN=Test CA'])
    this.#certify('broker', 'localhost')
  }

  #certify(file: string, name = file): void {
    const [request, key] = [this.#path(`${file}.csr`), this.#path(`${file}.key`)]
    run(['openssl', 'req', ...newKey(key), '-out', request, '-subj', `/CN=${name}`])
    writeFileSync(this.#path('names'), `subjectAltName=DNS:${name}\n`)
    const authority = ['-CA', this.#path('ca.pem'), '-CAkey', this.#path('ca.key'), '-days', '2']
    const out = ['-out', this.#path(`${file}.pem`), '-extfile', this.#path('names')]
    run(['openssl', 'x509', '-req', '-in', request, ...out, ...authority])
  }

  #path(name: string): string {
    return join(this.dir, name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

function newKey(file: string): string[] {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
  return [...curve, '-nodes', '-keyout', file]
}

function run(command: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(command, { stdout: 'ignore', stderr: 'pipe' })
  if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${stderr.toString()}`)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  await new Promise((done) => server.close(done))
  if (address === null || typeof address === 'string') throw new Error('No port was given.')
  return address.port
}
