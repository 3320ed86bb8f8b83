-- The log of a team on several machines. What makes records easy to find is in each machine's own DuckDB index.
CREATE TABLE placet_entries (
    idx            BIGINT PRIMARY KEY,   -- ledger index, from 0, without gaps
    record_id      TEXT NOT NULL UNIQUE, -- digest of the statement; makes appending idempotent
    predicate_type TEXT NOT NULL,        -- counted, so that nobody acts on roles that were changed meanwhile
    envelope       BYTEA NOT NULL        -- the exact bytes that were signed and sent
);
CREATE INDEX placet_entries_by_type ON placet_entries (predicate_type);

CREATE TABLE placet_checkpoints (
    size BIGINT PRIMARY KEY,             -- number of records it covers
    note TEXT NOT NULL                   -- C2SP signed note
);

CREATE TABLE placet_log (
    origin TEXT PRIMARY KEY,             -- one log to a database
    form   INTEGER NOT NULL,             -- of these tables
    moved  TEXT                          -- where the log went, once it was moved away: nothing is appended then
);
