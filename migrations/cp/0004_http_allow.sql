-- The hosts that http_fetch of a version may reach, a JSON array of patterns. Versions from before could not fetch at all.
ALTER TABLE versions ADD COLUMN http_allow TEXT NOT NULL DEFAULT '[]';
