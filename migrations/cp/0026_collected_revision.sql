-- Tombstones of routes up to this revision may be gone. One row.
CREATE TABLE collected_revision (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revision INTEGER NOT NULL
) STRICT;
INSERT INTO collected_revision (id, revision) VALUES (1, 0);
CREATE INDEX routes_tombstones ON routes (revision) WHERE deleted_at IS NOT NULL;
-- Tombstones that this node needed are gone up to here: from a revision below, only a full plan tells it of deletions.
ALTER TABLE nodes ADD COLUMN full_below INTEGER NOT NULL DEFAULT 0;
