-- A deployment's status follows from which states its targets are in: looked up with every acknowledgement of a fleet, not counted.
CREATE INDEX deployment_targets_state ON deployment_targets (deployment_id, state);
