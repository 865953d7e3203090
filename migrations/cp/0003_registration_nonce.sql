-- The answer to a registration may be lost on its way, with the join token used up. A node therefore sends a nonce of its
-- own, and the same token with the same nonce is answered again while it lives. SHA-256 of the nonce.
ALTER TABLE join_tokens ADD COLUMN nonce_hash TEXT;
