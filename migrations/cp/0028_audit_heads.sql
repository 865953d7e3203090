-- The newest head of the audit log that each node has told of, so that it is known also before the node speaks again. The nodes' own
-- files are the proof: whoever can write this database can write this table.
CREATE TABLE audit_heads (
  node_id TEXT PRIMARY KEY,
  seq INTEGER NOT NULL,
  hash TEXT NOT NULL,
  at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
