-- Pieces of SQL for the databases that functions have on nodes, numbered within a function. Rows never change.
CREATE TABLE schemas (
  id TEXT PRIMARY KEY,
  function_id TEXT NOT NULL REFERENCES functions (id) ON DELETE CASCADE,
  number INTEGER NOT NULL CHECK (number > 0),
  label TEXT NOT NULL,
  sql TEXT NOT NULL,
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
  size_bytes INTEGER NOT NULL,
  pop_selector TEXT,
  revision INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  UNIQUE (function_id, number)
) STRICT;
CREATE INDEX schemas_revision ON schemas (revision);
CREATE TRIGGER schemas_no_update BEFORE UPDATE ON schemas
BEGIN SELECT RAISE(ABORT, 'schemas are immutable'); END;
