/** What was answered during a storm of kills, each answer judged as it comes: what nothing in the storm explains is a defect. */

import type { ErrorBody } from '../../src/protocol/api.ts'

/** How long after a process serves again a 503 or a lost connection may still come of its end. */
const afterKillMsMax = 5_000
/** The same of a connection to workers whose agent was killed: the next agent ends them when its own serve (`supervise/orphans.ts`). */
const afterOrphansMsMax = 15_000
/** A trap is of a flaky version when one of so many answers of the node, before or after it, is. */
const neighbours = 5

export interface Answer {
  /** Who was asked: a node, or the control plane. */
  readonly from: string
  /** Milliseconds since the storm began. */
  readonly sentMs: number
  readonly endedMs: number
  /** Null: no answer came, and `body` says why. */
  readonly status: number | null
  readonly body: string
}

interface Kill {
  readonly who: string
  readonly what: 'plane' | 'agent' | 'workers'
  readonly fromMs: number
  /** Until when it may be noticed. */
  untilMs: number
}

export interface StormFacts {
  /** Whether a deployment of the version has been asked for. */
  isAsked(version: number): boolean
  /** Whether the version is made to trap now and then. */
  isFlaky(version: number): boolean
}

export class Answers {
  readonly #facts: StormFacts
  readonly #defects: string[] = []
  readonly #counts = new Map<string, number>()
  readonly #kills: Kill[] = []
  /** Of each node the versions that it answered last, the newest at the end. */
  readonly #versions = new Map<string, readonly number[]>()
  /** Traps of which no answer before tells why, and how many answers may still tell. */
  #traps: { readonly trap: Answer; left: number }[] = []

  constructor(facts: StormFacts) {
    this.#facts = facts
  }

  /** How often what came. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts
  }

  /** To be called before `who` is killed. Call the result when it serves again. */
  killed(who: string, what: Kill['what'], nowMs: number): (nowMs: number) => void {
    const kill = { who, what, fromMs: nowMs, untilMs: Infinity }
    this.#kills.push(kill)
    return (backMs) => {
      kill.untilMs = backMs + (what === 'agent' ? afterOrphansMsMax : afterKillMsMax)
    }
  }

  /** An answer of the function. */
  called(answer: Answer): void {
    const { from, status, body } = answer
    if (status === 200) return this.#served(answer, Number(body))
    const code = codeOf(body)
    this.#count(status === null ? 'calls without an answer' : `answers ${status} ${code}`)
    if (status === 500 && code === 'function_trap') {
      const isExplained = this.#versions.get(from)?.some(this.#facts.isFlaky) ?? false
      if (!isExplained) this.#traps.push({ trap: answer, left: neighbours })
    } else if (!this.#isOfKill(answer)) this.#defect(answer)
  }

  /** A request to the control plane that was not answered as asked; a conflict with what has happened meanwhile is no fault. */
  refused(answer: Answer): void {
    const { status, body } = answer
    const what = status === null ? 'without an answer' : `refused ${status} ${codeOf(body)}`
    this.#count(`changes ${what}`)
    if (status !== 409 && !this.#isOfKill(answer)) this.#defect(answer)
  }

  /** What is a defect; nothing may come any more. */
  end(): readonly string[] {
    for (const { trap } of this.#traps) this.#defect(trap)
    this.#traps = []
    return this.#defects
  }

  #served(answer: Answer, version: number): void {
    const { from } = answer
    this.#count('answers 200')
    if (!this.#facts.isAsked(version)) this.#defect(answer, 'a version that was never deployed')
    this.#versions.set(from, [...(this.#versions.get(from) ?? []), version].slice(-neighbours))
    this.#traps = this.#traps.filter((waiting) => {
      if (waiting.trap.from !== from) return true
      if (this.#facts.isFlaky(version)) return false
      waiting.left -= 1
      if (waiting.left === 0) this.#defect(waiting.trap)
      return waiting.left > 0
    })
  }

  /** Whether a process that was killed can be why there was no answer, or none but 503. */
  #isOfKill({ from, status, body, sentMs, endedMs }: Answer): boolean {
    if (status !== null && status !== 503) return false
    return this.#kills.some(({ who, what, fromMs, untilMs }) => {
      if (who !== from || endedMs < fromMs || sentMs > untilMs) return false
      // Workers outlive their agent. But who closes a listener resets what waits in its queue.
      return what === 'plane' || what === 'workers' || (status === null && /ECONNRESET/.test(body))
    })
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1)
  }

  #defect({ from, sentMs, endedMs, status, body }: Answer, why = 'nothing explains it'): void {
    const when = `${seconds(sentMs)} to ${seconds(endedMs)}`
    const before = this.#kills.findLast(({ who, fromMs }) => who === from && fromMs <= endedMs)
    const kill = before === undefined ? '' : `, ${before.what} killed at ${seconds(before.fromMs)}`
    this.#defects.push(`${from} answered ${status ?? 'nothing'} (${when}${kill}), ${why}: ${body}`)
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(3)} s`
}

function codeOf(body: string): string {
  try {
    return (JSON.parse(body) as ErrorBody).error.code
  } catch {
    return 'without a code'
  }
}
