-- Schemas that failed on the node in this sync, a JSON array of the first ones; null: none.
ALTER TABLE sync_records ADD COLUMN schema_failures TEXT;
