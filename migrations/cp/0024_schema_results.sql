-- What nodes said became of schemas; the newest word of each.
CREATE TABLE schema_results (
  node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
  function_id TEXT NOT NULL REFERENCES functions (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('applied', 'failed')),
  error_code TEXT,
  error_message TEXT,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (node_id, function_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX schema_results_function ON schema_results (function_id, number);
-- A node that loses a function removes its database: what it applied there is no more.
CREATE TRIGGER schema_results_end AFTER UPDATE OF removed ON assignments WHEN NEW.removed = 1
BEGIN DELETE FROM schema_results WHERE node_id = NEW.node_id AND function_id = NEW.function_id; END;
