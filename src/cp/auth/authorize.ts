/** Whether a caller may use an endpoint; what is not said to be allowed is refused. */

import { EdgefnError } from '../../errors.ts'
import type { Caller, Role } from '../context.ts'
import type { Access } from '../endpoint.ts'

const RANK: Record<Role, number> = { viewer: 1, developer: 2, owner: 3 }

/** Throws `forbidden`. `params` are those of the path; a node may act only as the node that `:id` names. */
export function authorize(
  caller: Caller,
  access: Access,
  params: Readonly<Record<string, string>>,
): void {
  if (allows(caller, access, params['id'])) return
  throw new EdgefnError('forbidden', `This needs ${NEEDS[access]}.`, {
    details: { access },
  })
}

function allows(caller: Caller, access: Access, id: string | undefined): boolean {
  switch (access) {
    case 'viewer':
    case 'developer':
    case 'owner':
      return caller.kind === 'user' && RANK[caller.role] >= RANK[access]
    case 'node':
      return caller.kind === 'node' && caller.node_id === id
    case 'node_or_viewer':
      return caller.kind === 'user' || (caller.kind === 'node' && caller.node_id === id)
    case 'join_token':
      return caller.kind === 'join_token'
  }
}

const NEEDS: Record<Access, string> = {
  viewer: 'an API key',
  developer: 'an API key with the role developer or owner',
  owner: 'an API key with the role owner',
  node: 'the token of the node itself',
  node_or_viewer: 'an API key or the token of the node itself',
  join_token: 'a join token',
}
