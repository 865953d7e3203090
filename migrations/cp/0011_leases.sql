-- Work that one control plane at a time does of all that share the database. The epoch counts holders: what a holder writes, it
-- writes in a transaction that finds its own epoch here. The beats count renewals: a lease whose beats stand still for as long as
-- another control plane has watched them, by its own monotonic clock, is that one's to take. Nobody's time of day matters.
CREATE TABLE leases (
  name TEXT PRIMARY KEY,
  -- Null: given back.
  holder TEXT,
  epoch INTEGER NOT NULL,
  beats INTEGER NOT NULL
) STRICT;
