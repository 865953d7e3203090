-- The answer to a renewal may be lost on its way. So a renewed JWT takes over only when its node first uses it: until
-- then token_hash is still the token that counts, and this is the one that was issued after it (SHA-256 of its id).
ALTER TABLE nodes ADD COLUMN next_token_hash TEXT;
