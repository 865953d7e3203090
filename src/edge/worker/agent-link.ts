/** The worker's end of the IPC channel to its agent: decodes what comes, sends what goes, tells when the agent is gone. */

import type { Log } from '../../telemetry/log.ts'
import { type ToAgent, type ToWorker, toWorkerSchema } from '../ipc.ts'

export interface AgentHandlers {
  readonly onMessage: (message: ToWorker) => void
  /** The channel closed: the agent died or let go. */
  readonly onGone: () => void
}

export interface AgentLink {
  connected(): boolean
  /** False when no agent is there to take it. */
  send(message: ToAgent): boolean
  /** Sends, and resolves when the message is out (or cannot be), for use before an exit. */
  sendLast(message: ToAgent): Promise<void>
  /**
   * Tells the agent that this process stands by, and resolves with the port when it is told to serve; null when it is told to
   * end instead, or the agent is gone. To be called before `open`.
   */
  standBy(): Promise<number | null>
  /** Starts handing over messages. Messages that do not match the schema are logged and dropped. */
  open(handlers: AgentHandlers): void
}

/** How long a last message may take to leave the process. */
const lastMessageMsMax = 1000

/** The link over the channel this process was spawned with; without one, every send is refused. */
export function createAgentLink(log: Log): AgentLink {
  const connected = () => process.send !== undefined && process.connected

  function send(message: ToAgent): boolean {
    return connected() && process.send?.(message) === true
  }

  async function sendLast(message: ToAgent): Promise<void> {
    if (!connected()) return
    const sent = Promise.withResolvers<void>()
    process.send?.(message, undefined, undefined, () => sent.resolve())
    await Promise.race([sent.promise, Bun.sleep(lastMessageMsMax)])
  }

  function open({ onMessage, onGone }: AgentHandlers): void {
    process.on('disconnect', onGone)
    process.on('message', (raw: unknown) => {
      const parsed = toWorkerSchema.safeParse(raw)
      if (parsed.success) return onMessage(parsed.data)
      const issue = parsed.error.issues[0]
      log.error('A message of the agent was dropped', {
        error_type: 'invalid_field',
        error_message: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unknown'}`,
      })
    })
  }

  function standBy(): Promise<number | null> {
    const told = Promise.withResolvers<number | null>()
    const onMessage = (raw: unknown) => {
      const parsed = toWorkerSchema.safeParse(raw)
      if (parsed.data?.type === 'serve') told.resolve(parsed.data.port)
      if (parsed.data?.type === 'drain') told.resolve(null)
    }
    const onEnd = () => told.resolve(null)
    process.on('message', onMessage)
    for (const event of ['disconnect', 'SIGTERM', 'SIGINT']) process.on(event, onEnd)
    send({ type: 'standby' })
    return told.promise.finally(() => {
      process.off('message', onMessage)
      for (const event of ['disconnect', 'SIGTERM', 'SIGINT']) process.off(event, onEnd)
    })
  }

  return { connected, send, sendLast, standBy, open }
}
