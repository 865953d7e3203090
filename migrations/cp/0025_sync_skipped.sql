-- Kinds of actions that a node of an older release left out of a plan, a JSON array; null: none.
ALTER TABLE sync_records ADD COLUMN skipped TEXT;
