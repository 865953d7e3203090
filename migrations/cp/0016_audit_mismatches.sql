-- Heads of the audit log that a node has seen and that the log no longer has: it was cut or rewritten. Kept until somebody with the
-- owner's role has accepted them, such as after a backup was put back.
CREATE TABLE audit_mismatches (
  node_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  hash TEXT NOT NULL,
  -- What the log has in its place; null: it ends before.
  found_hash TEXT,
  detected_at TEXT NOT NULL,
  accepted_at TEXT,
  PRIMARY KEY (node_id, seq, hash)
) STRICT;
