-- Secrets by name, for every function or for one. A deleted one stays as a name without its values, for the history of versions.
CREATE TABLE secrets (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  -- Null: any function may refer to it.
  function_id TEXT REFERENCES functions (id),
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  deleted_at TEXT
) STRICT;
CREATE UNIQUE INDEX secrets_name ON secrets (name, coalesce(function_id, '')) WHERE deleted_at IS NULL;
CREATE INDEX secrets_function ON secrets (function_id);

-- Each value that a secret has had, sealed with a key that is not in the database; empty once the secret is deleted.
CREATE TABLE secret_versions (
  secret_id TEXT NOT NULL REFERENCES secrets (id),
  number INTEGER NOT NULL CHECK (number > 0),
  sealed TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (secret_id, number)
) STRICT;
-- The sealed text may change: the same value under a newer key, or nothing.
CREATE TRIGGER secret_versions_no_change BEFORE UPDATE ON secret_versions
WHEN NEW.secret_id IS NOT OLD.secret_id OR NEW.number IS NOT OLD.number
  OR NEW.created_by IS NOT OLD.created_by OR NEW.created_at IS NOT OLD.created_at
BEGIN SELECT RAISE(ABORT, 'a version of a secret is immutable'); END;
CREATE TRIGGER secret_versions_no_delete BEFORE DELETE ON secret_versions
BEGIN SELECT RAISE(ABORT, 'a version of a secret is immutable'); END;

-- Which variable of a version of a function is which version of a secret.
CREATE TABLE version_secrets (
  function_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  variable TEXT NOT NULL,
  secret_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (function_id, version, variable),
  FOREIGN KEY (function_id, version) REFERENCES versions (function_id, version) ON DELETE CASCADE,
  FOREIGN KEY (secret_id, number) REFERENCES secret_versions (secret_id, number)
) STRICT;
CREATE INDEX version_secrets_secret ON version_secrets (secret_id);
CREATE TRIGGER version_secrets_no_change BEFORE UPDATE ON version_secrets
BEGIN SELECT RAISE(ABORT, 'a version is immutable'); END;
CREATE TRIGGER version_secrets_no_insert BEFORE INSERT ON version_secrets
WHEN EXISTS (SELECT 1 FROM versions WHERE function_id = NEW.function_id AND version = NEW.version AND state = 'ready')
BEGIN SELECT RAISE(ABORT, 'a version is immutable'); END;
CREATE TRIGGER version_secrets_no_delete BEFORE DELETE ON version_secrets
WHEN EXISTS (SELECT 1 FROM versions WHERE function_id = OLD.function_id AND version = OLD.version AND state = 'ready')
BEGIN SELECT RAISE(ABORT, 'a version is immutable'); END;
