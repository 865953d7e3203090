-- What a module asks for and offers, for the comparison with the version before and for people: JSON arrays of "module.name"
-- and of names, and the pages it starts with. Null for versions from before; they are then read from the module.
ALTER TABLE versions ADD COLUMN imports TEXT;
ALTER TABLE versions ADD COLUMN exports TEXT;
ALTER TABLE versions ADD COLUMN memory_min INTEGER;
-- Asked for at the registration: the version is kept although it is not compatible with the one before.
ALTER TABLE versions ADD COLUMN forced INTEGER NOT NULL DEFAULT 0 CHECK (forced IN (0, 1));
-- What the comparison found: {"compared_with": 41, "findings": [...]}. Null before the upload, and for versions from before.
ALTER TABLE versions ADD COLUMN compatibility TEXT;

-- Versions are immutable. What was registered never changes; what the module adds is written once.
CREATE TRIGGER versions_no_change BEFORE UPDATE ON versions
WHEN OLD.state = 'ready'
  OR NEW.function_id IS NOT OLD.function_id OR NEW.version IS NOT OLD.version
  OR NEW.memory_pages IS NOT OLD.memory_pages OR NEW.max_execution_ms IS NOT OLD.max_execution_ms
  OR NEW.quotas IS NOT OLD.quotas OR NEW.env IS NOT OLD.env OR NEW.http_allow IS NOT OLD.http_allow
  OR NEW.isolation IS NOT OLD.isolation OR NEW.message IS NOT OLD.message OR NEW.forced IS NOT OLD.forced
  OR NEW.created_by IS NOT OLD.created_by OR NEW.created_at IS NOT OLD.created_at
BEGIN SELECT RAISE(ABORT, 'a version is immutable'); END;
CREATE TRIGGER versions_no_delete BEFORE DELETE ON versions WHEN OLD.state = 'ready'
BEGIN SELECT RAISE(ABORT, 'a version is immutable'); END;
-- INSERT OR REPLACE deletes without firing delete triggers.
CREATE TRIGGER versions_no_replace BEFORE INSERT ON versions
WHEN EXISTS (SELECT 1 FROM versions WHERE function_id = NEW.function_id AND version = NEW.version AND state = 'ready')
BEGIN SELECT RAISE(ABORT, 'a version is immutable'); END;
