-- The ledger: facts as entries of a Merkle log. `node` is for several nodes on one store, each with a log of its own; one node is 0.

-- Entries that are stored together with what they describe, and have no place in the log yet. Few rows: a job numbers them every
-- second. One row for each transaction.
CREATE TABLE ledger_pending (
  id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at_ms    BIGINT NOT NULL,                 -- when they were stored
  entries  BYTEA  NOT NULL                  -- one after the other, each with its length before it
);

CREATE TABLE ledger_logs (
  node                 BIGINT NOT NULL PRIMARY KEY,
  size                 BIGINT NOT NULL,     -- entries with a place
  -- All entries before these places are seen by the job that erases old bodies of this class.
  decisions_erased_to  BIGINT NOT NULL DEFAULT 0,
  opt_outs_erased_to   BIGINT NOT NULL DEFAULT 0
);
INSERT INTO ledger_logs (node, size) VALUES (0, 0);

-- The entries in their places, some hundreds a row.
CREATE TABLE ledger_bundles (
  node     BIGINT NOT NULL,
  first    BIGINT NOT NULL,                 -- the place of the first
  size     BIGINT NOT NULL,
  from_ms  BIGINT NOT NULL,                 -- the earliest and the latest time in them
  to_ms    BIGINT NOT NULL,
  entries  BYTEA  NOT NULL,                 -- as in ledger_pending; an erased one has the length 0
  PRIMARY KEY (node, first)
);
CREATE INDEX ledger_bundles_by_time ON ledger_bundles (node, to_ms);

-- The hashes of the tree, up to 256 a row (C2SP tlog-tiles). Level 0 has the hashes of entries.
CREATE TABLE ledger_tiles (
  node    BIGINT NOT NULL,
  level   BIGINT NOT NULL,
  number  BIGINT NOT NULL,
  hashes  BYTEA  NOT NULL,
  PRIMARY KEY (node, level, number)
);

-- Signed checkpoints. The same are in a file outside the database.
CREATE TABLE ledger_checkpoints (
  node   BIGINT NOT NULL,
  size   BIGINT NOT NULL,
  at_ms  BIGINT NOT NULL,
  note   TEXT   NOT NULL,
  PRIMARY KEY (node, size)
);
