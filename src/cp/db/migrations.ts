/** The schema's history, embedded in the binary. A change is a new file and a new line here; old ones never change. */

import initial from '../../../migrations/cp/0001_initial.sql' with { type: 'text' }
import nextNodeToken from '../../../migrations/cp/0002_next_node_token.sql' with { type: 'text' }
import registrationNonce from '../../../migrations/cp/0003_registration_nonce.sql' with { type: 'text' }
import httpAllow from '../../../migrations/cp/0004_http_allow.sql' with { type: 'text' }
import isolation from '../../../migrations/cp/0005_isolation.sql' with { type: 'text' }
import rollouts from '../../../migrations/cp/0010_rollouts.sql' with { type: 'text' }
import leases from '../../../migrations/cp/0011_leases.sql' with { type: 'text' }
import events from '../../../migrations/cp/0012_events.sql' with { type: 'text' }
import webhooks from '../../../migrations/cp/0013_webhooks.sql' with { type: 'text' }
import versionFacts from '../../../migrations/cp/0014_version_facts.sql' with { type: 'text' }
import secrets from '../../../migrations/cp/0015_secrets.sql' with { type: 'text' }
import auditMismatches from '../../../migrations/cp/0016_audit_mismatches.sql' with { type: 'text' }
import split from '../../../migrations/cp/0017_split.sql' with { type: 'text' }
import telemetry from '../../../migrations/cp/0019_telemetry.sql' with { type: 'text' }
import nodeCommands from '../../../migrations/cp/0021_node_commands.sql' with { type: 'text' }
import schemas from '../../../migrations/cp/0023_schemas.sql' with { type: 'text' }
import schemaResults from '../../../migrations/cp/0024_schema_results.sql' with { type: 'text' }
import syncSkipped from '../../../migrations/cp/0025_sync_skipped.sql' with { type: 'text' }
import collectedRevision from '../../../migrations/cp/0026_collected_revision.sql' with { type: 'text' }
import targetStates from '../../../migrations/cp/0027_target_states.sql' with { type: 'text' }
import auditHeads from '../../../migrations/cp/0028_audit_heads.sql' with { type: 'text' }
import webhookOrder from '../../../migrations/cp/0029_webhook_order.sql' with { type: 'text' }
import largeTables from '../../../migrations/cp/0030_large_tables.sql' with { type: 'text' }
import syncSchemas from '../../../migrations/cp/0031_sync_schemas.sql' with { type: 'text' }
import auditAcceptance from '../../../migrations/cp/0032_audit_acceptance.sql' with { type: 'text' }
import orderOfRows from '../../../migrations/cp/0033_order_of_rows.sql' with { type: 'text' }
import outcomeTimes from '../../../migrations/cp/0034_outcome_times.sql' with { type: 'text' }

export interface Migration {
  /** Greater than those before. */
  readonly id: number
  readonly name: string
  readonly sql: string
}

export const MIGRATIONS: readonly Migration[] = [
  { id: 1, name: 'initial', sql: initial },
  { id: 2, name: 'next_node_token', sql: nextNodeToken },
  { id: 3, name: 'registration_nonce', sql: registrationNonce },
  { id: 4, name: 'http_allow', sql: httpAllow },
  { id: 5, name: 'isolation', sql: isolation },
  { id: 10, name: 'rollouts', sql: rollouts },
  { id: 11, name: 'leases', sql: leases },
  { id: 12, name: 'events', sql: events },
  { id: 13, name: 'webhooks', sql: webhooks },
  { id: 14, name: 'version_facts', sql: versionFacts },
  { id: 15, name: 'secrets', sql: secrets },
  { id: 16, name: 'audit_mismatches', sql: auditMismatches },
  { id: 17, name: 'split', sql: split },
  { id: 19, name: 'telemetry', sql: telemetry },
  { id: 21, name: 'node_commands', sql: nodeCommands },
  { id: 23, name: 'schemas', sql: schemas },
  { id: 24, name: 'schema_results', sql: schemaResults },
  { id: 25, name: 'sync_skipped', sql: syncSkipped },
  { id: 26, name: 'collected_revision', sql: collectedRevision },
  { id: 27, name: 'target_states', sql: targetStates },
  { id: 28, name: 'audit_heads', sql: auditHeads },
  { id: 29, name: 'webhook_order', sql: webhookOrder },
  { id: 30, name: 'large_tables', sql: largeTables },
  { id: 31, name: 'sync_schemas', sql: syncSchemas },
  { id: 32, name: 'audit_acceptance', sql: auditAcceptance },
  { id: 33, name: 'order_of_rows', sql: orderOfRows },
  { id: 34, name: 'outcome_times', sql: outcomeTimes },
]
