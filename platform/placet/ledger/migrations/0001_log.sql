-- The log itself: what was appended, in order. Insert-only; nothing here is ever updated or deleted.
CREATE TABLE entries (
    idx       BIGINT PRIMARY KEY,   -- ledger index, from 0, without gaps
    record_id VARCHAR NOT NULL,     -- digest of the statement; makes appending idempotent
    leaf      BLOB NOT NULL,        -- RFC 6962 leaf hash of the envelope
    envelope  BLOB NOT NULL         -- the exact bytes that were signed and sent
);
CREATE UNIQUE INDEX entries_by_record ON entries (record_id);

CREATE TABLE checkpoints (
    size BIGINT PRIMARY KEY,        -- number of records it covers
    note VARCHAR NOT NULL           -- C2SP signed note
);

-- Derived from the envelopes: for finding records, never for believing them.
CREATE TABLE records (
    idx            BIGINT PRIMARY KEY,
    predicate_type VARCHAR NOT NULL,
    key_id         VARCHAR NOT NULL
);
CREATE TABLE subjects (
    idx    BIGINT NOT NULL,
    name   VARCHAR NOT NULL,
    digest VARCHAR NOT NULL
);
