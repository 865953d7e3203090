/**
 * Forwards stored batches in their order, an upload at a time, and forgets them when the control plane says that it has them. Over MQTT
 * when it is connected, else over HTTP; an upload that MQTT has not had acknowledged in time is sent again over HTTP.
 */

import { toEdgefnError, type EdgefnError } from '../../../errors.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import type { TelemetryAck } from '../../../protocol/telemetry.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { NextUpload, TelemetryStore } from './store.ts'

/** How long an acknowledgement over MQTT may take. */
const ackMsMax = 10_000
/** Nodes that hear at once that the control plane is back begin at moments of this time. */
const spreadMs = 1_000

export interface SenderDeps {
  readonly store: TelemetryStore
  nodeId(): NodeId
  readonly mqtt: {
    readonly connected: boolean
    publish(channel: 'telemetry', payload: string): Promise<void>
  } | null
  /** The upload is JSON text. */
  postHttp(upload: string): Promise<TelemetryAck>
  readonly log: Log
  retryDelayMs(attempt: number): number
  readonly random: () => number
}

export class TelemetrySender {
  readonly #deps: SenderDeps
  #running: Promise<void> | null = null
  #timer: ReturnType<typeof setTimeout> | null = null
  #failures = 0
  /** The last batch of an upload that was refused: those up to it go one by one. */
  #refusedUpTo: number | null = null
  /** MQTT took an upload that nobody acknowledged. */
  #mqttSilent = false
  #awaited: {
    readonly last: TelemetryAck
    readonly settle: PromiseWithResolvers<TelemetryAck>
  } | null = null
  #closed = false

  constructor(deps: SenderDeps) {
    this.#deps = deps
  }

  /** Sends what is stored, unless that is being done or a retry waits. */
  wake(): void {
    if (this.#closed || this.#running !== null || this.#timer !== null) return
    this.#running = this.#run().finally(() => {
      this.#running = null
    })
  }

  /** The control plane is back: a retry that waits comes soon. */
  wakeSoon(): void {
    if (this.#closed || this.#timer === null) return
    clearTimeout(this.#timer)
    this.#wakeIn(this.#deps.random() * spreadMs)
  }

  /** An acknowledgement over MQTT. */
  acknowledged(ack: TelemetryAck): void {
    const awaited = this.#awaited
    // That of an upload before, which was sent twice.
    if (awaited?.last.boot_id !== ack.boot_id || awaited.last.seq !== ack.seq) return
    awaited.settle.resolve(ack)
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#awaited?.settle.reject(new Error('The node ends.'))
    await this.#running
  }

  #wakeIn(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.wake()
    }, ms)
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        const upload = this.#deps.store.next(this.#refusedUpTo === null ? undefined : 1)
        if (upload === null) return
        await this.#send(upload)
      } catch (thrown) {
        this.#failed(thrown)
        return
      }
    }
  }

  async #send(upload: NextUpload): Promise<void> {
    const { store, log } = this.#deps
    const text = `{"node_id":"${this.#deps.nodeId()}","batches":[${upload.batches.join(',')}]}`
    try {
      if (!(await this.#overMqtt(upload, text))) {
        await this.#deps.postHttp(text)
        this.#mqttSilent = false
      }
    } catch (thrown) {
      const error = toEdgefnError(thrown)
      if (!isRefusal(error)) throw error
      if (upload.batches.length > 1) {
        // One of them is to blame, and the others shall arrive.
        this.#refusedUpTo = upload.last_id
        return
      }
      log.warn('The control plane will not take a batch of telemetry, which is dropped.', {
        ...{ error_type: error.code, error_message: error.message },
      })
      store.drop(upload.last_id)
      this.#passed(upload)
      return
    }
    store.acknowledge(upload.last_id)
    this.#passed(upload)
    if (this.#failures > 0) log.info('Telemetry arrives again.')
    this.#failures = 0
  }

  #passed({ last_id }: NextUpload): void {
    if (this.#refusedUpTo !== null && last_id >= this.#refusedUpTo) this.#refusedUpTo = null
  }

  /** False when it has to go another way. */
  async #overMqtt({ last }: NextUpload, text: string): Promise<boolean> {
    const { mqtt, log } = this.#deps
    if (mqtt === null || !mqtt.connected || this.#mqttSilent || this.#closed) return false
    const settle = Promise.withResolvers<TelemetryAck>()
    const timer = setTimeout(() => settle.reject(new Error('no acknowledgement')), ackMsMax)
    this.#awaited = { last, settle }
    try {
      await Promise.all([mqtt.publish('telemetry', text), settle.promise])
      return true
    } catch (thrown) {
      log.debug(`Telemetry goes over HTTP: ${toEdgefnError(thrown).message}`)
      this.#mqttSilent = true
      return false
    } finally {
      clearTimeout(timer)
      this.#awaited = null
    }
  }

  #failed(thrown: unknown): void {
    if (this.#closed) return
    this.#failures += 1
    const error = toEdgefnError(thrown)
    const { log } = this.#deps
    if (this.#failures > 1) log.debug(`Telemetry was not taken: ${error.message}`)
    else if (error.code === 'internal') log.failure('Telemetry could not be sent.', thrown)
    else {
      log.warn('Telemetry was not taken by the control plane; it is kept and sent again.', {
        ...{ error_type: error.code, error_message: error.message },
      })
    }
    this.#wakeIn(this.#deps.retryDelayMs(this.#failures))
  }
}

/** The same bytes would be refused for ever, and nothing behind them would arrive. */
function isRefusal({ code }: EdgefnError): boolean {
  return code === 'invalid_field' || code === 'bad_request' || code === 'body_too_large'
}
