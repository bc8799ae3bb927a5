-- Do-not-call entries get a scope, a source and an end. SQLite cannot change a UNIQUE constraint, so the table is made anew.
CREATE TABLE dnc_next (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  number         TEXT   NOT NULL,
  scope          TEXT   NOT NULL DEFAULT 'all', -- `all`, or a name that the settings of campaigns give
  source         TEXT   NOT NULL DEFAULT 'api',
  reason         TEXT   NOT NULL,
  added_at_ms    BIGINT NOT NULL,
  expires_at_ms  BIGINT,
  api_key_id     BIGINT,                        -- by whom, as far as it is known
  agent_id       BIGINT,
  attempt_id     BLOB,
  CONSTRAINT dnc_once_per_scope UNIQUE (number, scope)
);
INSERT INTO dnc_next (id, number, source, reason, added_at_ms)
  SELECT id, number, CASE WHEN reason = 'an agent''s disposition' THEN 'agent' ELSE 'api' END, reason, added_at_ms FROM dnc;
-- No id may be given a second time.
DELETE FROM sqlite_sequence WHERE name = 'dnc_next';
INSERT INTO sqlite_sequence (name, seq) SELECT 'dnc_next', seq FROM sqlite_sequence WHERE name = 'dnc';
DROP TABLE dnc;
ALTER TABLE dnc_next RENAME TO dnc;

-- Suppression lists: registries, the team's own lists and allowlists. Only keyed hashes of their numbers are stored.
CREATE TABLE suppression_lists (
  name        TEXT   NOT NULL PRIMARY KEY,
  kind        TEXT   NOT NULL,
  version_id  BIGINT NOT NULL,               -- of suppression_versions; a change of this column replaces the whole list
  max_age_ms  BIGINT NOT NULL
) WITHOUT ROWID;

-- Every version that a list has had.
CREATE TABLE suppression_versions (
  id            INTEGER PRIMARY KEY,
  list          TEXT   NOT NULL,
  as_of_ms      BIGINT NOT NULL,             -- the date of its data
  loaded_at_ms  BIGINT NOT NULL,
  numbers       BIGINT NOT NULL,
  added         BIGINT NOT NULL,             -- against the version before
  removed       BIGINT NOT NULL,
  rejected      BIGINT NOT NULL,             -- lines without a number
  key_check     BLOB   NOT NULL,             -- says with which key its hashes were made
  api_key_id    BIGINT
);
CREATE INDEX suppression_versions_by_list ON suppression_versions (list, id);

-- The hashes of a version: the first 8 bytes of each, big-endian and sorted. Hashes with the same first 12 bits share a row.
-- Only rows of a list's present version are used; others are left over from a version that was replaced or not completed.
CREATE TABLE suppression_chunks (
  version_id  BIGINT NOT NULL,
  chunk       BIGINT NOT NULL,
  hashes      BLOB   NOT NULL,
  PRIMARY KEY (version_id, chunk)
);
