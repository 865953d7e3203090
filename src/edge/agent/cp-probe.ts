/**
 * Notices when the control plane answers again. Retries back off to a minute [R7.4], which is right for a control plane
 * that is ill and too long for one that is back; so while it does not answer, its `/health` is asked once a second, and
 * the first answer ends all waiting. A port that takes connections says nothing: the control plane may hang behind it,
 * or a proxy may stand before it.
 */

const probeMs = 1_000
const answerMsMax = 2_000

export class CpProbe {
  readonly #url: string
  readonly #onReachable: () => void
  readonly #isolated: () => boolean
  readonly #closing = new AbortController()
  #timer: ReturnType<typeof setTimeout> | null = null
  #probing = false

  /** `cp` is `http://host:port`; while `isolated` nobody is asked. */
  constructor(cp: string, onReachable: () => void, isolated: () => boolean = () => false) {
    this.#url = `${cp.replace(/\/+$/, '')}/health`
    this.#onReachable = onReachable
    this.#isolated = isolated
  }

  /** A call got no answer. Begins to probe; does nothing when it does already, or when there is an answer at once. */
  lost(): void {
    if (this.#probing || this.#closing.signal.aborted) return
    this.#probing = true
    void this.#probe(false)
  }

  close(): void {
    this.#closing.abort()
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  async #probe(hasFailed: boolean): Promise<void> {
    const answers = await this.#answers()
    if (this.#closing.signal.aborted) return
    if (!answers) {
      // Wide, so that a fleet that lost its control plane in one instant does not find it in one.
      const jittered = probeMs * (0.5 + Math.random())
      this.#timer = setTimeout(() => void this.#probe(true), jittered)
      return
    }
    this.#probing = false
    // One that answered all the time is no news: a control plane that is ill is left to the backoff.
    if (hasFailed) this.#onReachable()
  }

  /** On a connection of its own: a kept one may be dead. */
  async #answers(): Promise<boolean> {
    if (this.#isolated()) return false
    const signal = AbortSignal.any([AbortSignal.timeout(answerMsMax), this.#closing.signal])
    try {
      const response = await fetch(this.#url, { keepalive: false, signal })
      await response.body?.cancel()
      return response.ok
    } catch {
      return false
    }
  }
}
