/** A peer as a child process that listens on a port it was given. */

import { freePort, until } from '../../../test/e2e/harness.ts'
import { noteRunning } from './running.ts'
import type { Server } from './server.ts'

/** Of a server's complaints that are kept for the message when it does not start. */
const wordsMax = 2000

export interface PeerSpec {
  readonly name: string
  /** The commands that start it, one process each, all on the same port. */
  commands(port: number): readonly (readonly string[])[]
}

/** Starts the processes and waits until the port answers. */
export async function startPeer({ name, commands }: PeerSpec): Promise<Server> {
  const port = await freePort()
  const children = commands(port).map((command) =>
    Bun.spawn([...command], { stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' }),
  )
  const words = children.map((child) => child.stderr.text())
  const stop = async () => {
    ended()
    for (const child of children) child.kill('SIGTERM')
    const forced = setTimeout(() => children.forEach((child) => child.kill('SIGKILL')), 3000)
    await Promise.all(children.map((child) => child.exited))
    clearTimeout(forced)
  }
  const ended = noteRunning({ stop })
  const url = `http://127.0.0.1:${port}`
  try {
    await until(`${name} answers`, async () => {
      if (children.some((child) => child.exitCode !== null)) return true
      await (await fetch(`${url}/`)).arrayBuffer()
      return true
    })
    const gone = children.findIndex((child) => child.exitCode !== null)
    if (gone >= 0) throw new Error(`${name} ended:\n${(await words[gone])?.slice(0, wordsMax)}`)
  } catch (thrown) {
    await stop()
    throw thrown
  }
  return { name, url, pids: children.map((child) => child.pid), stop }
}
