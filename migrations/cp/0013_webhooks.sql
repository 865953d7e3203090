-- Where events are sent (docs/EVENTS.md). The secret is sealed with a key that is not in the database.
CREATE TABLE webhooks (
  id TEXT PRIMARY KEY,
  url TEXT NOT NULL,
  -- JSON list of types and kinds of events; empty: all.
  events TEXT NOT NULL,
  -- Only events of this function; null: of all, and those of none.
  function_id TEXT REFERENCES functions (id) ON DELETE CASCADE,
  secret_sealed TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;

-- An event on its way to a webhook, and what came of it. Written in the event's own transaction, once.
CREATE TABLE webhook_deliveries (
  id TEXT PRIMARY KEY,
  webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  event_seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  payload TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
  attempts INTEGER NOT NULL DEFAULT 0,
  -- Of a pending one: not tried before. Whoever tries sets it ahead, so that nobody else does meanwhile.
  next_attempt_at TEXT NOT NULL,
  last_status INTEGER,
  last_error TEXT,
  last_ms INTEGER,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  UNIQUE (webhook_id, event_seq)
) STRICT;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_attempt_at) WHERE state = 'pending';
