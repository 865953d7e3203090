-- The notices about one function, or about routes (whose function_id is NULL), that a newer one overtakes on a node with thousands.
UPDATE outbox SET function_id = NULL WHERE type = 'routes';
CREATE INDEX outbox_subject ON outbox (node_id, function_id);

-- Counting a hundred thousand routes for each new one takes longer than making it.
CREATE TABLE route_counter (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  routes INTEGER NOT NULL CHECK (routes >= 0)
) STRICT;
INSERT INTO route_counter (id, routes) SELECT 1, count(*) FROM routes WHERE deleted_at IS NULL;
CREATE TRIGGER routes_counted_in AFTER INSERT ON routes WHEN NEW.deleted_at IS NULL
BEGIN UPDATE route_counter SET routes = routes + 1; END;
CREATE TRIGGER routes_counted_again AFTER UPDATE OF deleted_at ON routes
WHEN (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL)
BEGIN UPDATE route_counter SET routes = routes + CASE WHEN NEW.deleted_at IS NULL THEN 1 ELSE -1 END; END;
CREATE TRIGGER routes_counted_out AFTER DELETE ON routes WHEN OLD.deleted_at IS NULL
BEGIN UPDATE route_counter SET routes = routes - 1; END;
