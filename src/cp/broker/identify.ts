/** Who connects: a node by its JWT under its own id, or a watcher by an API key. */

import { EdgefnError } from '../../errors.ts'
import type { Caller } from '../context.ts'
import { isWatcherId, WATCHER_USERNAME, type Peer } from './access.ts'

export interface Credentials {
  readonly client_id: string
  readonly clean: boolean
  readonly username: string
  readonly password: string
}

/** Throws `unauthenticated` for a bad credential, `forbidden` for a good one under a name that is not its own. */
export async function identify(
  authenticate: (bearer: string) => Promise<Caller>,
  credentials: Credentials,
): Promise<Peer> {
  const { client_id, clean, username } = credentials
  const caller = await authenticate(credentials.password)
  if (username === WATCHER_USERNAME && caller.kind === 'user') {
    if (!isWatcherId(client_id)) {
      throw new EdgefnError('forbidden', 'The client id of a watcher must start with watch:.')
    }
    // A session that outlives its connection would keep state for whoever never returns.
    if (!clean) throw new EdgefnError('forbidden', 'A watcher must ask for a clean session.')
    return { kind: 'watcher', key_id: caller.key_id }
  }
  if (caller.kind === 'node' && caller.node_id === username && caller.node_id === client_id) {
    return { kind: 'node', node_id: caller.node_id }
  }
  throw new EdgefnError('forbidden', 'User name, client id and credential do not belong together.')
}
