/** A server that is measured: where it listens, which processes are its own, how it is ended. */

export interface Server {
  readonly name: string
  /** `http://127.0.0.1:4711`, without a slash at the end. */
  readonly url: string
  /** Its processes; their descendants count too. */
  readonly pids: readonly number[]
  /** Of a server that has processes beside those that answer: the latter alone. */
  workers?(): readonly number[]
  stop(): Promise<void>
}
