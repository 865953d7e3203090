-- The control plane's schema. Times are RFC 3339 UTC text; ids are UUIDv7 text; JSON columns hold JSON text.
-- Forward only: a later change is a later file.

-- Revisions order every change that nodes must learn of (DESIGN section 7). One row.
CREATE TABLE revision_counter (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revision INTEGER NOT NULL
) STRICT;
INSERT INTO revision_counter (id, revision) VALUES (1, 0);

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('owner', 'developer', 'viewer')),
  key_hash TEXT NOT NULL,
  created_at TEXT NOT NULL,
  revoked_at TEXT
) STRICT;

CREATE TABLE functions (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  deleted_at TEXT
) STRICT;
-- A deleted function frees its name; its history stays.
CREATE UNIQUE INDEX functions_name ON functions (name) WHERE deleted_at IS NULL;

-- Normalised modules by digest; several versions may share one.
CREATE TABLE artifacts (
  sha256 TEXT PRIMARY KEY CHECK (length(sha256) = 64),
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  signature TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;

CREATE TABLE versions (
  function_id TEXT NOT NULL REFERENCES functions (id) ON DELETE CASCADE,
  version INTEGER NOT NULL CHECK (version > 0),
  state TEXT NOT NULL CHECK (state IN ('pending_upload', 'ready')),
  entrypoint TEXT NOT NULL,
  memory_pages INTEGER NOT NULL CHECK (memory_pages BETWEEN 1 AND 256),
  max_execution_ms INTEGER NOT NULL CHECK (max_execution_ms > 0),
  quotas TEXT NOT NULL,
  env TEXT NOT NULL,
  message TEXT NOT NULL,
  abi TEXT,
  artifact_sha256 TEXT REFERENCES artifacts (sha256),
  uploaded_sha256 TEXT,
  -- API key that registered it; whoever holds the presigned upload URL acts for this key.
  created_by TEXT NOT NULL DEFAULT '',
  created_at TEXT NOT NULL,
  PRIMARY KEY (function_id, version),
  CHECK (state = 'pending_upload' OR (abi IS NOT NULL AND artifact_sha256 IS NOT NULL AND uploaded_sha256 IS NOT NULL))
) STRICT;
CREATE INDEX versions_artifact ON versions (artifact_sha256);

-- A deleted route stays as a tombstone, so that a delta can tell nodes to drop it.
CREATE TABLE routes (
  id TEXT PRIMARY KEY,
  host TEXT NOT NULL,
  path TEXT NOT NULL,
  path_type TEXT NOT NULL CHECK (path_type IN ('exact', 'prefix', 'regex')),
  methods TEXT NOT NULL,
  function_id TEXT NOT NULL REFERENCES functions (id) ON DELETE CASCADE,
  pop_selector TEXT,
  priority INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  deleted_at TEXT
) STRICT;
CREATE INDEX routes_function ON routes (function_id);
CREATE INDEX routes_revision ON routes (revision);
CREATE INDEX routes_host_path ON routes (host, path) WHERE deleted_at IS NULL;

CREATE TABLE nodes (
  id TEXT PRIMARY KEY,
  pop_id TEXT NOT NULL,
  ip TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('online', 'degraded', 'offline')),
  last_heartbeat TEXT,
  version TEXT NOT NULL,
  os TEXT NOT NULL,
  arch TEXT NOT NULL,
  http_port INTEGER NOT NULL,
  cpu_percent REAL,
  mem_bytes INTEGER,
  -- Newest change meant for this node, and the newest it has acknowledged.
  desired_revision INTEGER NOT NULL DEFAULT 0,
  applied_revision INTEGER NOT NULL DEFAULT 0,
  -- SHA-256 of the id of the newest JWT; an older one is refused.
  token_hash TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX nodes_pop ON nodes (pop_id);

CREATE TABLE join_tokens (
  id TEXT PRIMARY KEY,
  token_hash TEXT NOT NULL,
  pop_id TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  used_at TEXT,
  used_by_node TEXT
) STRICT;

CREATE TABLE deployments (
  id TEXT PRIMARY KEY,
  function_id TEXT NOT NULL REFERENCES functions (id) ON DELETE CASCADE,
  version INTEGER NOT NULL,
  target TEXT NOT NULL,
  strategy TEXT NOT NULL CHECK (strategy IN ('immediate', 'canary', 'rolling')),
  status TEXT NOT NULL CHECK (status IN ('pending', 'in_progress', 'completed', 'failed', 'rolled_back')),
  message TEXT NOT NULL,
  revision INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  FOREIGN KEY (function_id, version) REFERENCES versions (function_id, version)
) STRICT;
CREATE INDEX deployments_function ON deployments (function_id, created_at DESC);
CREATE INDEX deployments_status ON deployments (status);

CREATE TABLE deployment_targets (
  deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
  node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
  state TEXT NOT NULL CHECK (state IN ('pending', 'notified', 'deployed', 'failed', 'superseded')),
  error_code TEXT,
  error_message TEXT,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (deployment_id, node_id)
) STRICT;
CREATE INDEX deployment_targets_node ON deployment_targets (node_id, state);

-- What every node should serve. removed = 1 is a tombstone for deltas.
CREATE TABLE assignments (
  node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
  function_id TEXT NOT NULL REFERENCES functions (id) ON DELETE CASCADE,
  version INTEGER NOT NULL,
  deployment_id TEXT NOT NULL REFERENCES deployments (id),
  revision INTEGER NOT NULL,
  removed INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1)),
  PRIMARY KEY (node_id, function_id)
) STRICT;
CREATE INDEX assignments_function ON assignments (function_id);
CREATE INDEX assignments_node_revision ON assignments (node_id, revision);

-- Notices not yet acknowledged by their node [R2.4]; a row goes when it is acknowledged or overtaken.
CREATE TABLE outbox (
  id TEXT PRIMARY KEY,
  node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
  revision INTEGER NOT NULL,
  type TEXT NOT NULL CHECK (type IN ('deploy', 'routes', 'undeploy')),
  function_id TEXT,
  deployment_id TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_attempt_at TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_due ON outbox (next_attempt_at);
CREATE INDEX outbox_node ON outbox (node_id, revision);

CREATE TABLE sync_records (
  id TEXT PRIMARY KEY,
  node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
  base_revision INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  succeeded INTEGER NOT NULL CHECK (succeeded IN (0, 1)),
  results TEXT NOT NULL,
  duration_ms REAL NOT NULL,
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX sync_records_node ON sync_records (node_id, created_at DESC);

-- Who did what, when, before and after [R14]. Rows are chained by hash and cannot be changed or deleted.
-- AUTOINCREMENT keeps the highest seq apart from the rows, so that a cut-off tail shows.
CREATE TABLE audit_log (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  actor TEXT NOT NULL,
  resource_type TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  operation TEXT NOT NULL,
  old_value TEXT,
  new_value TEXT,
  request_id TEXT NOT NULL,
  created_at TEXT NOT NULL,
  previous_hash TEXT NOT NULL,
  hash TEXT NOT NULL
) STRICT;
CREATE INDEX audit_log_resource ON audit_log (resource_type, resource_id);
CREATE INDEX audit_log_created ON audit_log (created_at);
-- INSERT OR REPLACE deletes without firing delete triggers, so only the next seq and a new id are let in.
CREATE TRIGGER audit_log_in_order BEFORE INSERT ON audit_log
WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit_log)
  OR EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
