-- Lists are in the order in which rows were written (rowid): ids and times follow a clock, which may be set back, and which
-- differs between control planes.
DROP INDEX commands_node;
CREATE INDEX commands_node ON commands (node_id);
DROP INDEX sync_records_node;
CREATE INDEX sync_records_node ON sync_records (node_id);
DROP INDEX deployments_function;
CREATE INDEX deployments_function ON deployments (function_id);
