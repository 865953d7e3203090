/**
 * That a mismatch was accepted is proved by a sealed text, whose key is not in the database. Without it, whoever rewrites the
 * log in the database could accept in advance what nodes will tell, and they would forget what they have seen.
 */

import type { AuditHead } from '../../protocol/audit-chain.ts'
import type { Row } from '../db/database.ts'
import type { Sealing } from '../sealing.ts'

const ACCEPTED = 'accepted'

/** The proof for the row of one head of one node. */
export function proveAcceptance(
  sealing: Sealing,
  nodeId: string,
  head: AuditHead,
): Promise<string> {
  return sealing.seal(purposeOf(nodeId, head), ACCEPTED)
}

/** Whether a row of `audit_mismatches` was accepted by a control plane that has the keys. */
export async function isAccepted(sealing: Sealing, row: Row): Promise<boolean> {
  const proof = row['accepted_proof']
  if (row['accepted_at'] === null || typeof proof !== 'string') return false
  try {
    return (await sealing.open(purposeOfRow(row), proof)) === ACCEPTED
  } catch {
    return false
  }
}

/** What the proof in a row of `audit_mismatches` is sealed for. */
export function purposeOfRow(row: Row): string {
  return purposeOf(String(row['node_id']), { seq: Number(row['seq']), hash: String(row['hash']) })
}

function purposeOf(nodeId: string, head: AuditHead): string {
  return `audit-acceptance/${nodeId}/${head.seq}/${head.hash}`
}
