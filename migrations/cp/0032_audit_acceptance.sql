-- Sealed by a control plane when it accepts the mismatch: whoever writes into the database cannot make one.
ALTER TABLE audit_mismatches ADD COLUMN accepted_proof TEXT;
