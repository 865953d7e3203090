-- Whether each request of a version sees a clean instance. Versions from before kept theirs.
ALTER TABLE versions ADD COLUMN isolation TEXT NOT NULL DEFAULT 'instance' CHECK (isolation IN ('instance', 'request'));
