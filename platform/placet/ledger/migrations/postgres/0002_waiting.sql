-- What writers that wait for the head's lock ask of the one that has it, and its answers: messages between living
-- processes and no store. Not logged, so never synced: after a crash it is empty, and every writer asks again.
-- One row for each writer's connection, written over and over; the room left in a page keeps these writes in place.
CREATE UNLOGGED TABLE placet_waiting (
    writer      BIGINT PRIMARY KEY,      -- a random number
    number      BIGINT NOT NULL,         -- of its request: another one each time
    asked_at    TIMESTAMPTZ NOT NULL,    -- by the database's clock; oldest first, and long past: left over
    served_with TEXT NOT NULL,           -- served by a writer that signs with this log key and has seen the same
    request     BYTEA,                   -- signed with that log key; none once it was answered or taken back
    record_ids  TEXT[],                  -- of the records in it, so that they can be looked up along with it
    answer      BYTEA                    -- in the transaction that did what was asked
) WITH (fillfactor = 40, toast_tuple_target = 8160);
