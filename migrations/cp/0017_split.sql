-- Versions between which traffic is split on every node: {"sticky": ..., "versions": [{"version": 41, "weight": 90}, ...]} in
-- ascending order of the versions. Null: the row's version has all of it; else that is the version that stands for the split.
ALTER TABLE deployments ADD COLUMN split TEXT;
ALTER TABLE assignments ADD COLUMN split TEXT;
