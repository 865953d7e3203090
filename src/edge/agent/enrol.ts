/** Enrolment: a join token becomes credentials once; after that the node renews its own token [R12]. */

import { rmSync } from 'node:fs'
import { arch, platform, release } from 'node:os'
import { dirname, join } from 'node:path'

import { z } from 'zod'

import type { EdgeConfig } from '../../config/modes.ts'
import { EdgefnError, toEdgefnError } from '../../errors.ts'
import type { NodeCredentials, NodeRegistration } from '../../protocol/api.ts'
import { nodeIdSchema, popIdSchema } from '../../protocol/ids.ts'
import type { MqttPlace } from '../../protocol/messages.ts'
import type { Log } from '../../telemetry/log.ts'
import { VERSION } from '../../version.ts'
import type { CpClient } from './cp-client.ts'
import type { StoredCredentials } from './credentials-file.ts'
import { readCredentials, writeCredentials } from './credentials-file.ts'
import { takeNonce } from './enrolment-nonce.ts'

/** How often the age of the token is looked at. */
const renewalCheckMsMax = 3_600_000
const renewalCheckMsMin = 1_000

interface EnrolmentDeps {
  readonly config: Pick<EdgeConfig, 'pop' | 'node_id' | 'token' | 'cp' | 'listen'>
  /** Path of `credentials.json`. */
  readonly path: string
  readonly cp: Pick<CpClient, 'register' | 'renewToken'>
  readonly log: Log
  /** The node is about to become another one: what it was told before is to be forgotten. */
  onEnrolling(): void
  retryDelayMs(attempt: number): number
}

export class Enrolment {
  readonly #deps: EnrolmentDeps
  #credentials: StoredCredentials | null = null
  /** When the token was obtained (performance.now), or when this agent found it. */
  #heldSinceMs = performance.now()
  #timer: ReturnType<typeof setTimeout> | null = null
  #closed = false

  constructor(deps: EnrolmentDeps) {
    this.#deps = deps
  }

  /**
   * Takes the stored credentials, or registers with the join token, waiting for a control plane that is away. Throws
   * `invalid_config` when there is neither or they belong to another node, and what the control plane refuses with.
   */
  async open(): Promise<NodeCredentials> {
    const { config, path, log } = this.#deps
    const stored = readCredentials(path)
    if (stored !== null) {
      checkIdentity(stored, config, path)
      this.#credentials = stored
    } else {
      if (config.token === null) {
        throw new EdgefnError(
          'invalid_config',
          `This node is not enrolled and no join token was given: make one with "edgefn token create --pop ${config.pop}" and pass it as --token.`,
        )
      }
      const noncePath = join(dirname(path), 'enrolment-nonce')
      const credentials = await this.#register(config.token, takeNonce(noncePath))
      // Before the credentials: an agent that is killed in between registers again, with the same nonce.
      this.#deps.onEnrolling()
      this.#keep(credentials)
      rmSync(noncePath, { force: true })
      log.info('The node is enrolled.', { context: { pop: this.current().pop_id } })
    }
    return this.current()
  }

  /** Begins to renew the token when it gets old. */
  startRenewal(): void {
    if (this.#closed) return
    this.#timer = setTimeout(() => void this.#check(), this.#checkMs())
  }

  /** Throws `unauthenticated` before the node is enrolled. */
  current(): NodeCredentials {
    if (this.#credentials === null) {
      throw new EdgefnError('unauthenticated', 'This node is not enrolled yet.')
    }
    return this.#credentials
  }

  /**
   * The broker may have moved. Whether it is news. Kept on the disk, so that a restart finds it; a disk that is full hinders no
   * heartbeat: the next renewal or move writes it, and a node that is started before asks for it.
   */
  takeMqttPlace({ mqtt_url, mqtt_auth }: MqttPlace): boolean {
    const stored = this.#credentials
    if (stored === null) return false
    if (stored.mqtt_url === mqtt_url && stored.mqtt_auth === mqtt_auth) return false
    const moved = { ...stored, mqtt_url, mqtt_auth }
    this.#credentials = moved
    const { path, log } = this.#deps
    try {
      writeCredentials(path, moved)
    } catch (thrown) {
      log.failure('Where the broker is now cannot be written down.', thrown, { context: { path } })
    }
    log.info('The broker is elsewhere now.', { context: { mqtt_url, mqtt_auth } })
    return true
  }

  /** Forgets on the disk who the node is; this agent knows until it ends. */
  erase(): void {
    this.close()
    rmSync(this.#deps.path, { force: true })
  }

  close(): void {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  async #register(joinToken: string, nonce: string): Promise<NodeCredentials> {
    const { cp, log, config } = this.#deps
    for (let attempt = 1; ; attempt++) {
      try {
        return await cp.register(joinToken, { ...registrationOf(config), nonce })
      } catch (thrown) {
        const error = toEdgefnError(thrown)
        if (!error.retryable || this.#closed) throw error
        log.warn('The control plane cannot be reached to enrol this node; it is tried again.', {
          error_type: error.code,
          error_message: error.message,
          context: { attempt },
        })
        await Bun.sleep(this.#deps.retryDelayMs(attempt))
      }
    }
  }

  /** Renews when less than a third of the token's life is left. A failure is tried again at the next check. */
  async #check(): Promise<void> {
    const { cp, log } = this.#deps
    if (needsRenewal(this.#credentials, Date.now(), performance.now() - this.#heldSinceMs)) {
      try {
        this.#keep(await cp.renewToken())
        log.info('The token of the node was renewed.')
      } catch (thrown) {
        const error = toEdgefnError(thrown)
        log.warn('The token of the node could not be renewed; it is tried again.', {
          error_type: error.code,
          error_message: error.message,
        })
      }
    }
    this.startRenewal()
  }

  #keep(credentials: NodeCredentials): void {
    const stored = { ...credentials, obtained_at: new Date().toISOString() }
    writeCredentials(this.#deps.path, stored)
    this.#credentials = stored
    this.#heldSinceMs = performance.now()
  }

  /** A token that is old when it is obtained says that a clock is wrong, and every new one would look as old. */
  #checkMs(): number {
    const life = this.#credentials === null ? 0 : lifeMs(this.#credentials)
    if (life <= 0) return renewalCheckMsMax
    return Math.min(renewalCheckMsMax, Math.max(renewalCheckMsMin, life / 20))
  }
}

/** As the control plane has signed it, by one clock; of a token that does not say, by the clocks of both. */
function lifeMs({ token, token_expires_at, obtained_at }: StoredCredentials): number {
  return signedLifeMs(token) ?? Date.parse(token_expires_at) - Date.parse(obtained_at)
}

const claimsSchema = z.object({ iat: z.number(), exp: z.number() })

/** The token is the control plane's to check; here only its own word is taken of how long it lives. */
function signedLifeMs(token: string): number | null {
  const [, claims = ''] = token.split('.')
  try {
    const { iat, exp } = claimsSchema.parse(JSON.parse(Buffer.from(claims, 'base64url').toString()))
    return (exp - iat) * 1000
  } catch {
    return null
  }
}

/**
 * Whether less than a third of the token's life is left. Its age is that by this node's clock (`now`, Unix ms), which may differ
 * from the control plane's, and no less than the `heldMs` for which the agent has held it, because the clock may be set back.
 */
export function needsRenewal(
  credentials: StoredCredentials | null,
  now: number,
  heldMs: number,
): boolean {
  if (credentials === null) return false
  const age = now - Date.parse(credentials.obtained_at)
  return age < 0 || Math.max(age, heldMs) > (lifeMs(credentials) * 2) / 3
}

function registrationOf(config: EnrolmentDeps['config']): NodeRegistration {
  return {
    ...(config.node_id === null ? {} : { node_id: nodeIdSchema.parse(config.node_id) }),
    pop_id: popIdSchema.parse(config.pop),
    version: VERSION,
    os: `${platform()} ${release()}`.slice(0, 100),
    arch: arch(),
    http_port: config.listen.port,
  }
}

/** A data directory belongs to one node: starting it as another would serve one POP's functions at another. */
function checkIdentity(
  stored: StoredCredentials,
  config: EnrolmentDeps['config'],
  path: string,
): void {
  const other =
    config.pop !== stored.pop_id
      ? `POP ${stored.pop_id}, not of ${config.pop}`
      : config.node_id !== null && config.node_id !== stored.node_id
        ? `node ${stored.node_id}, not of ${config.node_id}`
        : null
  if (other === null) return
  throw new EdgefnError('invalid_config', `${path} holds the credentials of ${other}.`)
}
