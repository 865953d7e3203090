/**
 * Notices when the way to the control plane is open again. Retries back off to a minute [R7.4], which is right for a
 * control plane that is ill and too long for one that is back; so while its port cannot be reached, one TCP connection a
 * second is tried, and the first that succeeds ends all waiting.
 */

import { connect } from 'node:net'

const PROBE_MS = 1_000

export class CpProbe {
  readonly #target: { host: string; port: number }
  readonly #onReachable: () => void
  #timer: ReturnType<typeof setTimeout> | null = null
  #probing = false
  #closed = false

  constructor(cp: string, onReachable: () => void) {
    const url = new URL(cp)
    const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
    this.#target = { host: url.hostname.replace(/^\[|\]$/g, ''), port }
    this.#onReachable = onReachable
  }

  /** A call got no answer. Begins to probe; does nothing when it does already, or when the port answers at once. */
  lost(): void {
    if (this.#probing || this.#closed) return
    this.#probing = true
    void this.#probe(false)
  }

  close(): void {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  async #probe(hasFailed: boolean): Promise<void> {
    const reachable = await canConnect(this.#target)
    if (this.#closed) return
    if (!reachable) {
      const jittered = PROBE_MS * (0.75 + 0.5 * Math.random())
      this.#timer = setTimeout(() => void this.#probe(true), jittered)
      return
    }
    this.#probing = false
    // A port that was open all the time is no news: a control plane that hangs is left to the backoff.
    if (hasFailed) this.#onReachable()
  }
}

function canConnect(target: { host: string; port: number }): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect({ ...target, timeout: PROBE_MS })
  socket.once('connect', () => resolve(true))
  socket.once('error', () => resolve(false))
  socket.once('timeout', () => resolve(false))
  return promise.finally(() => socket.destroy())
}
