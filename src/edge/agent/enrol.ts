/** Enrolment: a join token becomes credentials once; after that the node renews its own token [R12]. */

import { rmSync } from 'node:fs'
import { arch, platform, release } from 'node:os'
import { dirname, join } from 'node:path'

import type { EdgeConfig } from '../../config/modes.ts'
import { EdgefnError, toEdgefnError } from '../../errors.ts'
import type { NodeCredentials, NodeRegistration } from '../../protocol/api.ts'
import { nodeIdSchema, popIdSchema } from '../../protocol/ids.ts'
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
  retryDelayMs(attempt: number): number
}

export class Enrolment {
  readonly #deps: EnrolmentDeps
  #credentials: StoredCredentials | null = null
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
      this.#keep(await this.#register(config.token, takeNonce(noncePath)))
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
    if (needsRenewal(this.#credentials, Date.now())) {
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
  }

  /** A life that is over when it begins says that a clock is wrong, and every new token would look as old. */
  #checkMs(): number {
    const life = this.#credentials === null ? 0 : lifeMs(this.#credentials)
    if (life <= 0) return renewalCheckMsMax
    return Math.min(renewalCheckMsMax, Math.max(renewalCheckMsMin, life / 20))
  }
}

function lifeMs(credentials: StoredCredentials): number {
  return Date.parse(credentials.token_expires_at) - Date.parse(credentials.obtained_at)
}

/** Whether less than a third of the token's life is left at `now` (Unix ms). */
export function needsRenewal(credentials: StoredCredentials | null, now: number): boolean {
  if (credentials === null) return false
  return Date.parse(credentials.token_expires_at) - now < lifeMs(credentials) / 3
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
