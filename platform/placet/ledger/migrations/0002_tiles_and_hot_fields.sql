-- Roots of full subtrees, so that appending and proofs read O(log n) hashes. Derived from the envelopes.
CREATE TABLE tiles (
    level INTEGER NOT NULL,         -- 0: over 256 leaf hashes; k: over 256 roots of level k - 1
    idx   BIGINT NOT NULL,          -- number of the tile in its level; only full ones are kept
    root  BLOB NOT NULL
);

-- Derived from the envelopes: for finding records, never for believing them. Made again by `placet ledger rebuild`.
DROP TABLE records;
DROP TABLE subjects;
CREATE TABLE words (
    id   INTEGER NOT NULL,          -- numbered as they first appear in the log
    word VARCHAR NOT NULL           -- a predicate type or a key id
);
CREATE TABLE records (
    idx            BIGINT NOT NULL, -- ledger index
    type_id        INTEGER NOT NULL,
    key_id         INTEGER NOT NULL,
    made_at        VARCHAR,         -- the moment the record gives, UTC, ISO 8601
    decision       VARCHAR,         -- of a verdict or a review
    suite          VARCHAR,         -- of a measurement
    channel        VARCHAR          -- of a release
);
CREATE TABLE subjects (
    idx        BIGINT NOT NULL,     -- ledger index
    digest_key BIGINT NOT NULL,     -- the digest's first 8 bytes as an integer: compared first
    digest     BLOB NOT NULL,
    name       VARCHAR NOT NULL
);

CREATE TABLE migrations (number INTEGER NOT NULL);
INSERT INTO migrations VALUES (1), (2);
