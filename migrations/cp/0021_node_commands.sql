-- Commands to nodes, kept as their history, and what they leave on a node.

-- Cordoned: deployments pass the node by. Drained: it refuses new calls. Isolated: it talks to nobody until then.
ALTER TABLE nodes ADD COLUMN cordoned INTEGER NOT NULL DEFAULT 0 CHECK (cordoned IN (0, 1));
ALTER TABLE nodes ADD COLUMN drained INTEGER NOT NULL DEFAULT 0 CHECK (drained IN (0, 1));
ALTER TABLE nodes ADD COLUMN isolated_until TEXT;

-- No reference to nodes: what was done to a node is known after it has left.
CREATE TABLE commands (
  id TEXT PRIMARY KEY,
  node_id TEXT NOT NULL,
  type TEXT NOT NULL,
  params TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'succeeded', 'failed', 'expired')),
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  -- Until then a node may begin it, and until then its result is waited for once it has been handed out.
  deadline_at TEXT NOT NULL,
  give_up_at TEXT NOT NULL,
  delivered_at TEXT,
  finished_at TEXT,
  -- What the node says of it, JSON.
  result TEXT,
  error_code TEXT,
  error_message TEXT
) STRICT;
CREATE INDEX commands_node ON commands (node_id, id DESC);
CREATE INDEX commands_open ON commands (node_id) WHERE state IN ('pending', 'delivered');
CREATE INDEX commands_finished ON commands (finished_at) WHERE finished_at IS NOT NULL;
