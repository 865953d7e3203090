-- Telemetry: what nodes upload, kept in three steps (`step`, seconds): 0 is each batch as it came, 60 and 3600 are sums.
-- All three are written in the transaction that takes the batch, so that none can know of a batch that another does not.
-- `at` is the beginning, in Unix milliseconds by the clock of the control plane. Nothing here refers to nodes or functions: what
-- happened stays true when they are gone.

-- The newest batch that was taken of each agent process; those up to it are not taken again.
CREATE TABLE telemetry_boots (
  node_id TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  taken_at INTEGER NOT NULL,
  PRIMARY KEY (node_id, boot_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX telemetry_boots_taken ON telemetry_boots (taken_at);

CREATE TABLE telemetry_series (
  id INTEGER PRIMARY KEY,
  function_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  node_id TEXT NOT NULL,
  UNIQUE (function_id, version, node_id)
) STRICT;
CREATE INDEX telemetry_series_node ON telemetry_series (node_id);

-- b0 to b15: calls within each limit of the latency buckets, not cumulative; b16: slower ones.
CREATE TABLE telemetry_calls (
  series_id INTEGER NOT NULL,
  step INTEGER NOT NULL,
  at INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  server_faults INTEGER NOT NULL,
  b0 INTEGER NOT NULL,
  b1 INTEGER NOT NULL,
  b2 INTEGER NOT NULL,
  b3 INTEGER NOT NULL,
  b4 INTEGER NOT NULL,
  b5 INTEGER NOT NULL,
  b6 INTEGER NOT NULL,
  b7 INTEGER NOT NULL,
  b8 INTEGER NOT NULL,
  b9 INTEGER NOT NULL,
  b10 INTEGER NOT NULL,
  b11 INTEGER NOT NULL,
  b12 INTEGER NOT NULL,
  b13 INTEGER NOT NULL,
  b14 INTEGER NOT NULL,
  b15 INTEGER NOT NULL,
  b16 INTEGER NOT NULL,
  PRIMARY KEY (series_id, step, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX telemetry_calls_at ON telemetry_calls (step, at);

CREATE TABLE telemetry_errors (
  series_id INTEGER NOT NULL,
  step INTEGER NOT NULL,
  at INTEGER NOT NULL,
  code TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (series_id, step, at, code)
) STRICT, WITHOUT ROWID;
CREATE INDEX telemetry_errors_at ON telemetry_errors (step, at);

-- Sums over `samples` batches, unless the name says otherwise.
CREATE TABLE telemetry_nodes (
  node_id TEXT NOT NULL,
  step INTEGER NOT NULL,
  at INTEGER NOT NULL,
  samples INTEGER NOT NULL,
  dropped_batches INTEGER NOT NULL,
  cpu_percent REAL NOT NULL,
  cpu_percent_max REAL NOT NULL,
  mem_bytes INTEGER NOT NULL,
  mem_bytes_max INTEGER NOT NULL,
  disk_free_bytes_min INTEGER NOT NULL,
  disk_total_bytes INTEGER NOT NULL,
  cache_bytes INTEGER NOT NULL,
  cache_files INTEGER NOT NULL,
  pool_instances INTEGER NOT NULL,
  pool_bytes INTEGER NOT NULL,
  queue_max INTEGER NOT NULL,
  workers_min INTEGER NOT NULL,
  PRIMARY KEY (node_id, step, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX telemetry_nodes_at ON telemetry_nodes (step, at);
