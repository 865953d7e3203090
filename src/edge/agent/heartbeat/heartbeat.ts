/** Sends a heartbeat every `heartbeat_ms`: over MQTT when it is connected, else over HTTP [R7.1–R7.4]. */

import { toEdgefnError } from '../../../errors.ts'
import type { Heartbeat, MqttPlace } from '../../../protocol/messages.ts'
import type { AnswerOfHeartbeat } from '../cp-client.ts'
import type { Log } from '../../../telemetry/log.ts'

/**
 * Every so many beats one goes over HTTP although MQTT works, because only HTTP has an answer: a broker that takes
 * messages and passes none on could otherwise hide from the node that it is behind.
 */
const httpBeatEvery = 4
/** Milliseconds that the clocks of node and control plane may differ without a word. */
const clocksApartMs = 30_000

interface HeartbeatDeps {
  readonly heartbeat_ms: number
  payload(): Heartbeat
  readonly mqtt: {
    readonly connected: boolean
    publish(channel: 'heartbeat', payload: string): Promise<void>
  } | null
  postHttp(beat: Heartbeat): Promise<AnswerOfHeartbeat>
  /** The control plane has something for this node. */
  onBehind(): void
  /** Where the control plane says that the broker is. */
  onMqttPlace(place: MqttPlace): void
  /** The control plane waits for the node to do something. */
  onCommands(): void
  readonly log: Log
  retryDelayMs(attempt: number): number
}

export class HeartbeatSender {
  readonly #deps: HeartbeatDeps
  #timer: ReturnType<typeof setTimeout> | null = null
  #running: Promise<void> | null = null
  /** Not the same beats for all nodes of a fleet that was started, or lost its control plane, at one time. */
  #beats = Math.floor(Math.random() * httpBeatEvery)
  #failures = 0
  /** A beat was asked for while one was under way. */
  #again = false
  #closed = false
  /** By how much the node's clock was ahead when that was last said. */
  #saidAheadMs = 0

  constructor(deps: HeartbeatDeps) {
    this.#deps = deps
  }

  /** Sends the first beat at once. */
  open(): void {
    this.beatNow()
  }

  /** Sends a beat now (or after the one under way), and the next ones from then on; also ends a backoff. */
  beatNow(): void {
    if (this.#closed) return
    this.#again = this.#running !== null
    if (this.#again) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#running = this.#beat().finally(() => {
      this.#running = null
      if (this.#again) this.beatNow()
      else if (!this.#closed) this.#timer = setTimeout(() => this.beatNow(), this.#nextMs())
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#running
  }

  /** After failures 1 s to 60 s until one arrives [R7.4]. */
  #nextMs(): number {
    const { heartbeat_ms, retryDelayMs } = this.#deps
    // A little early, each time otherwise: a fleet that began to beat together does not go on so.
    const jittered = heartbeat_ms * (0.9 + 0.1 * Math.random())
    return this.#failures === 0 ? jittered : retryDelayMs(this.#failures)
  }

  async #beat(): Promise<void> {
    const { log } = this.#deps
    try {
      const beat = this.#deps.payload()
      const overMqtt = this.#beats % httpBeatEvery !== 0 && (await this.#published(beat))
      if (!overMqtt) await this.#posted(beat)
      this.#beats += 1
      if (this.#failures > 0) log.info('Heartbeats arrive again.')
      this.#failures = 0
    } catch (thrown) {
      this.#failures += 1
      const error = toEdgefnError(thrown)
      if (error.code === 'internal') log.failure('A heartbeat could not be made.', thrown)
      else if (this.#failures > 1) log.debug(`A heartbeat was not taken: ${error.message}`)
      else {
        log.warn('A heartbeat was not taken by the control plane.', {
          error_type: error.code,
          error_message: error.message,
        })
      }
    }
  }

  async #published(beat: Heartbeat): Promise<boolean> {
    const { mqtt, log } = this.#deps
    if (mqtt === null || !mqtt.connected) return false
    try {
      await mqtt.publish('heartbeat', JSON.stringify(beat))
      return true
    } catch (thrown) {
      log.debug(`The heartbeat goes over HTTP: ${toEdgefnError(thrown).message}`)
      return false
    }
  }

  async #posted(beat: Heartbeat): Promise<void> {
    const answer = await this.#deps.postHttp(beat)
    if (answer.mqtt !== undefined) this.#deps.onMqttPlace(answer.mqtt)
    if (answer.revision !== beat.revision || answer.notices.length > 0) this.#deps.onBehind()
    if (answer.commands > 0) this.#deps.onCommands()
    this.#compareClocks(Date.parse(answer.server_time))
  }

  /** Nothing that a node does for the control plane goes by its clock; previews, logs and what guests are told do. */
  #compareClocks(serverMs: number): void {
    const aheadMs = Date.now() - serverMs
    if (Math.abs(aheadMs - this.#saidAheadMs) < clocksApartMs) return
    this.#saidAheadMs = Math.abs(aheadMs) < clocksApartMs ? 0 : aheadMs
    const context = { ahead_seconds: Math.round(aheadMs / 1000) }
    if (this.#saidAheadMs === 0)
      this.#deps.log.info('The clock of the node is right again.', { context })
    else this.#deps.log.warn('The clocks of the node and of the control plane differ.', { context })
  }
}
