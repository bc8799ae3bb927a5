-- Do-not-call entries get a scope, a source and an end.
ALTER TABLE dnc DROP CONSTRAINT dnc_number_key;
ALTER TABLE dnc ADD COLUMN scope TEXT COLLATE "C" NOT NULL DEFAULT 'all';
ALTER TABLE dnc ADD COLUMN source TEXT COLLATE "C" NOT NULL DEFAULT 'api';
ALTER TABLE dnc ADD COLUMN expires_at_ms BIGINT;
ALTER TABLE dnc ADD COLUMN api_key_id BIGINT;
ALTER TABLE dnc ADD COLUMN agent_id BIGINT;
ALTER TABLE dnc ADD COLUMN attempt_id UUID;
ALTER TABLE dnc ADD CONSTRAINT dnc_once_per_scope UNIQUE (number, scope);
UPDATE dnc SET source = 'agent' WHERE reason = 'an agent''s disposition';

-- Suppression lists: registries, the team's own lists and allowlists. Only keyed hashes of their numbers are stored.
CREATE TABLE suppression_lists (
  name        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  kind        TEXT COLLATE "C" NOT NULL,
  version_id  BIGINT NOT NULL,
  max_age_ms  BIGINT NOT NULL
);

CREATE TABLE suppression_versions (
  id            BIGINT NOT NULL PRIMARY KEY,
  list          TEXT COLLATE "C" NOT NULL,
  as_of_ms      BIGINT NOT NULL,
  loaded_at_ms  BIGINT NOT NULL,
  numbers       BIGINT NOT NULL,
  added         BIGINT NOT NULL,
  removed       BIGINT NOT NULL,
  rejected      BIGINT NOT NULL,
  key_check     BYTEA  NOT NULL,
  api_key_id    BIGINT
);
CREATE INDEX suppression_versions_by_list ON suppression_versions (list, id);

CREATE TABLE suppression_chunks (
  version_id  BIGINT NOT NULL,
  chunk       BIGINT NOT NULL,
  hashes      BYTEA  NOT NULL,
  PRIMARY KEY (version_id, chunk)
);
