/** Turns outbox rows into notices at the moment they are sent, so that presigned URLs are fresh. */

import type { NodeId } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Notice } from '../../protocol/messages.ts'
import type { Database, Sql } from '../db/database.ts'
import type { DeployContent } from './notices.ts'
import type { Outbox, OutboxRow } from './store.ts'

/** Bytes left in a packet for its topic and header. */
const packetOverheadBytes = 1024

/** The notice of a row, or null when the row has been overtaken and can go. */
export async function noticeOf(
  sql: Sql,
  row: OutboxRow,
  deployContent: DeployContent,
): Promise<Notice | null> {
  const head = { notice_id: row.id, revision: row.revision }
  if (row.type === 'routes') return { type: 'routes', ...head }
  if (row.function_id === null) return null
  if (row.type === 'undeploy') return { type: 'undeploy', ...head, function_id: row.function_id }
  if (row.deployment_id === null) return null
  const content = await deployContent(sql, row.node_id, row.function_id, row.deployment_id)
  if (content === null) return null
  const notice: Notice = {
    type: 'deploy',
    ...head,
    ...content.manifest,
    routes: [...content.routes],
  }
  // Too many routes for one packet: say only that something changed, the plan has the rest.
  const bytes = Buffer.byteLength(JSON.stringify(notice))
  if (bytes > LIMITS.mqttPacketBytesMax - packetOverheadBytes) return { type: 'routes', ...head }
  return notice
}

/** Notices in the answer to one heartbeat; the next heartbeat brings more [R7.3]. */
const noticesPerAnswerMax = 32

/** The notices that a node has not acknowledged, oldest first; rows that have been overtaken are dropped. */
export async function undeliveredNotices(
  db: Database,
  outbox: Outbox,
  nodeId: NodeId,
  deployContent: DeployContent,
): Promise<Notice[]> {
  const notices: Notice[] = []
  const overtaken: string[] = []
  for (const row of await outbox.undelivered(db, nodeId, noticesPerAnswerMax)) {
    const notice = await noticeOf(db, row, deployContent)
    if (notice === null) overtaken.push(row.id)
    else notices.push(notice)
  }
  if (overtaken.length > 0) await db.write((tx) => outbox.discard(tx, overtaken))
  return notices
}
