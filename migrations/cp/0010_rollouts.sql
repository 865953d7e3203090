-- How a deployment goes from node to node: one row for each deployment, recorded whole when the deployment is. Durations are
-- milliseconds that have been driven, summed up, so that a clock that is set changes none of them. Steps count from 1.
CREATE TABLE rollouts (
  deployment_id TEXT PRIMARY KEY REFERENCES deployments (id) ON DELETE CASCADE,
  function_id TEXT NOT NULL REFERENCES functions (id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('deploy', 'rollback')),
  -- 1: the driver says when it goes on and how it ends; 0: all nodes were given the version at once.
  driven INTEGER NOT NULL CHECK (driven IN (0, 1)),
  phase TEXT NOT NULL CHECK (phase IN ('running', 'paused', 'ended')),
  pause_reason TEXT CHECK (pause_reason IN ('requested', 'not_enough_samples')),
  -- The step that began last, and all of them: [{"nodes": 1, "gates": {...}}, ...], nodes with those of the steps before.
  step INTEGER NOT NULL,
  steps TEXT NOT NULL,
  step_ms INTEGER NOT NULL DEFAULT 0,
  -- Null: not every node of the step has acknowledged. The time of day is for the samples.
  window_ms INTEGER,
  window_since TEXT,
  promoted INTEGER NOT NULL DEFAULT 0 CHECK (promoted IN (0, 1)),
  max_failed INTEGER,
  pause_ms INTEGER NOT NULL,
  step_timeout_ms INTEGER NOT NULL,
  on_failure TEXT NOT NULL CHECK (on_failure IN ('roll_back', 'stop')),
  -- Newest revision that it gave to nodes.
  revision INTEGER NOT NULL,
  -- Counts what was decided and ordered, so that nothing is decided on what has changed meanwhile.
  moves INTEGER NOT NULL DEFAULT 0,
  -- A newer deployment took its place. The status column of a deployment has no word for that and says completed.
  superseded INTEGER NOT NULL DEFAULT 0 CHECK (superseded IN (0, 1)),
  superseded_by TEXT,
  evidence TEXT
) STRICT;
-- One at a time for each function.
CREATE UNIQUE INDEX rollouts_active ON rollouts (function_id) WHERE phase <> 'ended';
CREATE INDEX rollouts_function ON rollouts (function_id, revision DESC);

-- Which node belongs to which step, and what it was to serve before (null: nothing). A row of deployment_targets is made when the
-- step begins.
CREATE TABLE rollout_targets (
  deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
  node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
  step INTEGER NOT NULL,
  previous_version INTEGER,
  previous_split TEXT,
  previous_deployment_id TEXT,
  -- Said instead of the target's state once the rollout has been stopped.
  outcome TEXT CHECK (outcome IN ('superseded', 'rolled_back', 'skipped')),
  PRIMARY KEY (deployment_id, node_id)
) STRICT;
CREATE INDEX rollout_targets_node ON rollout_targets (node_id);

-- What was deployed before this was recorded: all nodes at once, and what they ran before is not known.
INSERT INTO rollouts (deployment_id, function_id, kind, driven, phase, step, steps, pause_ms, step_timeout_ms, on_failure, revision, superseded)
SELECT d.id, d.function_id, 'deploy', 0, 'ended', 1,
  json_array(json_object(
    'nodes', (SELECT count(*) FROM deployment_targets t WHERE t.deployment_id = d.id),
    'gates', json('{"error_rate_max":null,"p95_ms_max":null,"min_samples":0,"window_seconds":0}'))),
  0, 600000, 'roll_back', d.revision,
  d.status = 'completed' AND EXISTS (SELECT 1 FROM deployment_targets t WHERE t.deployment_id = d.id)
    AND NOT EXISTS (SELECT 1 FROM deployment_targets t WHERE t.deployment_id = d.id AND t.state <> 'superseded')
FROM deployments d;
INSERT INTO rollout_targets (deployment_id, node_id, step) SELECT deployment_id, node_id, 1 FROM deployment_targets;
