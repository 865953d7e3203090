/** The control plane's own code on its own database, without sockets: endpoints are called, notices handed to the network. */

import { join } from 'node:path'

import type { z } from 'zod'

import type { CpConfig } from '../../src/config/modes.ts'
import { openBase, type Base, type Step } from '../../src/cp/base.ts'
import type { Broker } from '../../src/cp/broker/broker.ts'
import { CommandKeeper } from '../../src/cp/commands/keeper.ts'
import { compose } from '../../src/cp/compose.ts'
import type { Caller } from '../../src/cp/context.ts'
import type { Endpoint } from '../../src/cp/endpoint.ts'
import type { Relay } from '../../src/cp/outbox/relay.ts'
import { EdgefnError } from '../../src/errors.ts'
import { validate } from '../../src/http/validate.ts'
import type { NodeId } from '../../src/protocol/ids.ts'
import type { Notice } from '../../src/protocol/messages.ts'
import { createLog } from '../../src/telemetry/log.ts'
import type { Owner, VirtualTime } from './virtual-time.ts'

const log = createLog({ component: 'cp', level: 'error' })
const url = 'http://cp.test'

export function configOf(dir: string): CpConfig {
  return {
    data_dir: dir,
    listen: { host: '127.0.0.1', port: 0 },
    mqtt_listen: null,
    mqtt_external: null,
    public_url: url,
    mqtt_public_url: null,
    preview_domain: null,
    database_url: `file:${join(dir, 'edgefn.db')}`,
    database_auth_token: null,
    artifacts: { kind: 'fs', dir: join(dir, 'artifacts') },
    heartbeat_ms: 30_000,
    log_level: 'error',
  }
}

/** Brings a notice to a node, or does not. */
export type SendNotice = (nodeId: NodeId, notice: Notice) => void

export interface ControlPlaneSurroundings {
  readonly send: SendNotice
  /** Before each request; what it throws is thrown by the endpoint. */
  beforeRequest(): void
  /** Something was answered. */
  onAnswer(method: Endpoint['method'], path: string): void
  /** An endpoint threw what no endpoint may throw. */
  onFault(text: string): void
}

interface Call {
  readonly caller: Caller
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string>>
  readonly body?: unknown
}

export class SimulatedControlPlane {
  readonly owner: Owner
  readonly base: Base
  readonly relay: Relay
  readonly #endpoints: readonly Endpoint[]
  readonly #around: ControlPlaneSurroundings
  readonly #closing: readonly Step[]
  #requests = 0

  private constructor(
    owner: Owner,
    base: Base,
    parts: {
      readonly relay: Relay
      readonly endpoints: readonly Endpoint[]
      readonly around: ControlPlaneSurroundings
    },
    closing: readonly Step[],
  ) {
    this.owner = owner
    this.base = base
    this.relay = parts.relay
    this.#endpoints = parts.endpoints
    this.#around = parts.around
    this.#closing = closing
  }

  /** Starts on what is in `dir`. */
  static start(
    dir: string,
    time: VirtualTime,
    around: ControlPlaneSurroundings,
  ): Promise<SimulatedControlPlane> {
    const owner = { name: 'cp', alive: true }
    return time.as(owner, async () => {
      const closing: Step[] = []
      const broker = brokerOf(around.send)
      let relay: Relay | null = null
      const base = await openBase(configOf(dir), log, closing, {
        addresses: { apiUrl: () => url, mqttUrl: () => null },
        wake: () => relay?.wake(),
        broker: () => broker,
      })
      const parts = compose(base)
      relay = parts.relay
      await base.artifacts.ensure()
      await base.liveness.open()
      for (const job of parts.jobs) if (!(job instanceof CommandKeeper)) await job.open()
      return new SimulatedControlPlane(owner, base, { ...parts, around }, closing)
    })
  }

  /** As a power cut does it: what is in memory is gone, what is committed is not. */
  async crash(): Promise<void> {
    this.owner.alive = false
    for (const step of this.#closing.toReversed()) await step()
  }

  /** One request, checked as those that come over HTTP are. Throws what the endpoint throws; a refusal has a code. */
  async call(method: Endpoint['method'], path: string, call: Call): Promise<unknown> {
    try {
      const answer = await this.#answer(method, path, call)
      this.#around.onAnswer(method, path)
      return answer
    } catch (thrown) {
      // In the middle of a crash anything may be closed.
      const isRefusal = thrown instanceof EdgefnError && thrown.code !== 'internal'
      if (this.owner.alive && !isRefusal) {
        this.#around.onFault(`${method} ${path} threw ${String(thrown)}`)
      }
      throw thrown
    }
  }

  async #answer(method: Endpoint['method'], path: string, call: Call): Promise<unknown> {
    const endpoint = this.#endpoints.find((item) => item.method === method && item.path === path)
    if (endpoint === undefined) throw new Error(`There is no ${method} ${path}.`)
    const checked = (
      schema: z.ZodType | undefined,
      value: unknown,
      where: 'path' | 'query' | 'body',
    ) => (schema === undefined ? undefined : validate(schema, value, where))
    this.#requests += 1
    this.#around.beforeRequest()
    const result = await endpoint.handle({
      params: checked(endpoint.params, call.params ?? {}, 'path'),
      query: checked(endpoint.query, call.query ?? {}, 'query'),
      body: checked(endpoint.body, call.body, 'body'),
      context: { caller: call.caller, request_id: `simulated-${this.#requests}`, ip: '127.0.0.1' },
      header: () => null,
    })
    return endpoint.response?.parse(result)
  }
}

function brokerOf(send: SendNotice): Broker {
  return {
    open: async () => {},
    close: async () => {},
    check: () => {},
    nodeUrl: () => '',
    connections: 0,
    send: async () => {},
    publishNotice: async (nodeId, notice) => send(nodeId, notice),
    publishEvent: () => {},
    disconnect: () => {},
    forget: () => {},
  }
}
