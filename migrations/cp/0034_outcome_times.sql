-- When the outcome of a target was said; null also for those that were said before this was recorded.
ALTER TABLE rollout_targets ADD COLUMN outcome_at TEXT;
