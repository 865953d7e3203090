/** Who is calling: made by `cp/auth` for each request, handed to services, written to the audit log. */

import type { NodeId } from '../protocol/ids.ts'

export type Role = 'owner' | 'developer' | 'viewer'

export type Caller =
  | { readonly kind: 'user'; readonly key_id: string; readonly name: string; readonly role: Role }
  | { readonly kind: 'node'; readonly node_id: NodeId }
  | { readonly kind: 'join_token'; readonly join_token_id: string; readonly pop_id: string }

/** What a service needs to know of the request besides its body. */
export interface RequestContext {
  readonly caller: Caller
  readonly request_id: string
  /** Address of the peer. */
  readonly ip: string
}

/** The actor column of the audit log. */
export function actorOf(caller: Caller): string {
  switch (caller.kind) {
    case 'user':
      return `key:${caller.key_id}`
    case 'node':
      return `node:${caller.node_id}`
    case 'join_token':
      return `join-token:${caller.join_token_id}`
  }
}
