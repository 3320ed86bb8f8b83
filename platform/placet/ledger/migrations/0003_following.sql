-- A row here says that this file is the local index of a log that lives elsewhere: nothing is appended to it directly.
CREATE TABLE following (log VARCHAR NOT NULL);
INSERT INTO migrations VALUES (3);
