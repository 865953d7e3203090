/**
 * Connections to other servers that have brought a response whole and wait for another request: opening one anew, and TLS above all,
 * takes longer than most answers. Each function version has its own, so that what a server sends on one of them can reach nobody else's.
 */

import type { Socket } from 'node:net'

import { LIMITS } from '../../../protocol/limits.ts'

/** A server that closes a connection so soon has not waited for another request, whatever it said. */
const hastyMs = 500
/** Milliseconds for which none of its connections is kept then, and how many such servers are remembered. */
const distrustMs = 60_000
const distrustedMax = 1024

/** The connections of one function version, by origin (`originOf`). */
export interface OwnConnections {
  /**
   * The connection to an origin that was used last and has waited for `idleMsMax` at most; null when there is none. `proved`: only
   * one of which the server has shown that it leaves it open.
   */
  take(origin: string, idleMsMax: number, proved: boolean): Socket | null
  /** Keeps a connection that nothing is pending on, for so many milliseconds at most. */
  keep(origin: string, socket: Socket, idleMsMax: number): void
  /** The server has closed one without answering: none of its is kept for a while, lest it gets every request twice. */
  distrust(origin: string): void
}

interface Waiting {
  readonly socket: Socket
  readonly owner: string
  readonly origin: string
  /** Whether it has been used again before, so that the server does leave it open. */
  readonly again: boolean
  readonly sinceMs: number
  /** When it is given up; a thread that is held up notices later. */
  readonly untilMs: number
  /** Takes it out of the list, and its listeners off. */
  readonly leave: () => void
}

export class IdleConnections {
  /** The one that has waited longest is first. */
  readonly #waiting = new Set<Waiting>()
  /** Owners and origins that are not trusted to wait, and until when. */
  readonly #distrusted = new Map<string, number>()
  readonly #usedAgain = new WeakSet<Socket>()

  of(owner: string): OwnConnections {
    return {
      take: (origin, idleMsMax, proved) => this.#take(owner, origin, idleMsMax, proved),
      keep: (origin, socket, idleMsMax) => this.#keep(owner, origin, socket, idleMsMax),
      distrust: (origin) => this.#distrust(owner, origin),
    }
  }

  get count(): number {
    return this.#waiting.size
  }

  #take(owner: string, origin: string, idleMsMax: number, proved: boolean): Socket | null {
    const nowMs = performance.now()
    const found = [...this.#waiting].findLast(
      (each) =>
        each.owner === owner &&
        each.origin === origin &&
        nowMs <= Math.min(each.sinceMs + idleMsMax, each.untilMs) &&
        (!proved || each.again || nowMs - each.sinceMs >= hastyMs),
    )
    if (found === undefined) return null
    found.leave()
    found.socket.ref()
    this.#usedAgain.add(found.socket)
    return found.socket
  }

  #keep(owner: string, origin: string, socket: Socket, idleMsMax: number): void {
    if (performance.now() < (this.#distrusted.get(`${owner} ${origin}`) ?? 0)) {
      socket.destroy()
      return
    }
    const drop = () => {
      waiting.leave()
      socket.destroy()
    }
    const ended = () => {
      if (performance.now() - waiting.sinceMs < hastyMs) this.#distrust(owner, origin)
      drop()
    }
    const sinceMs = performance.now()
    const waitMs = Math.min(idleMsMax, LIMITS.fetchIdleMsMax)
    const timer = setTimeout(drop, waitMs)
    timer.unref()
    // Whatever comes now answers nothing that was asked.
    const listeners = { data: drop, error: drop, end: ended, close: ended } as const
    const waiting: Waiting = {
      ...{ socket, owner, origin, sinceMs, untilMs: sinceMs + waitMs },
      again: this.#usedAgain.has(socket),
      leave: () => {
        this.#waiting.delete(waiting)
        clearTimeout(timer)
        for (const [event, listener] of Object.entries(listeners)) socket.off(event, listener)
      },
    }
    for (const [event, listener] of Object.entries(listeners)) socket.on(event, listener)
    socket.resume()
    socket.unref()
    this.#waiting.add(waiting)
    this.#makeRoom(owner)
  }

  #distrust(owner: string, origin: string): void {
    const key = `${owner} ${origin}`
    this.#distrusted.delete(key)
    this.#distrusted.set(key, performance.now() + distrustMs)
    const [oldest] = this.#distrusted.keys()
    if (this.#distrusted.size > distrustedMax && oldest !== undefined) {
      this.#distrusted.delete(oldest)
    }
  }

  #makeRoom(owner: string): void {
    const own = [...this.#waiting].filter((each) => each.owner === owner)
    const [oldest] = own.length > LIMITS.fetchIdlePerFunctionMax ? own : []
    const [oldestOfAll] = this.#waiting.size > LIMITS.fetchIdlePerWorkerMax ? this.#waiting : []
    for (const each of new Set([oldest, oldestOfAll])) {
      each?.leave()
      each?.socket.destroy()
    }
  }
}
