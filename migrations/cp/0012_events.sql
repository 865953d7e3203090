-- What has happened, for whoever watches: written with the change itself, read in the order of seq (docs/EVENTS.md).
-- AUTOINCREMENT: a number is never given twice, so that a reader who comes again knows what it has missed.
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  -- `rollout.gate_failed`: the type, and what it became.
  kind TEXT NOT NULL,
  function_id TEXT,
  deployment_id TEXT,
  payload TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX events_created ON events (created_at);
