-- A callee can be connected to something that is no agent of Paceline. SQLite changes a constraint only by making the
-- table again; foreign keys to it are checked at the end of this transaction.
PRAGMA defer_foreign_keys = ON;

CREATE TABLE kept AS SELECT * FROM attempts;
DROP TABLE attempts;
CREATE TABLE attempts (
  id               BLOB   NOT NULL PRIMARY KEY, -- UUIDv7: its order is the order of creation
  campaign_id      BIGINT NOT NULL REFERENCES campaigns (id),
  task_id          BIGINT NOT NULL,
  contact_id       BIGINT NOT NULL,
  number           TEXT   NOT NULL,
  ordinal          BIGINT NOT NULL,          -- 1 for the contact's first attempt in this task
  created_at_ms    BIGINT NOT NULL,
  answered_at_ms   BIGINT,
  connected_at_ms  BIGINT,
  abandoned_at_ms  BIGINT,                   -- when the callee was abandoned; it stays, whatever happens later
  agent_id         BIGINT,                   -- the agent who talked with the callee; none: no agent of Paceline
  ended_at_ms      BIGINT,
  outcome          TEXT,
  disposition      TEXT,
  message          TEXT, -- to an abandoned callee
  message_at_ms    BIGINT,                   -- when the PBX was asked to play it
  owner            BIGINT NOT NULL DEFAULT 0,
  epoch            BIGINT NOT NULL DEFAULT 0,
  subject          TEXT,
  debt             TEXT,
  -- An ended attempt has an outcome; a live one has none.
  CONSTRAINT outcome_iff_ended CHECK ((ended_at_ms IS NULL) = (outcome IS NULL)),
  CONSTRAINT message_iff_played CHECK ((message IS NULL) = (message_at_ms IS NULL)),
  CONSTRAINT abandoned_after_answer CHECK (abandoned_at_ms IS NULL OR (answered_at_ms IS NOT NULL AND connected_at_ms IS NULL)),
  -- This order also serves the search for a contact's attempts.
  CONSTRAINT attempt_once_per_ordinal UNIQUE (contact_id, task_id, ordinal)
) WITHOUT ROWID;
CREATE INDEX attempts_by_campaign ON attempts (campaign_id, id);
CREATE INDEX attempts_by_task ON attempts (task_id, id);
CREATE INDEX attempts_by_agent ON attempts (agent_id, id) WHERE agent_id IS NOT NULL;
-- For searches by outcome and by disposition among millions of attempts. An attempt in progress is in neither index.
CREATE INDEX attempts_by_outcome ON attempts (outcome, id) WHERE outcome IS NOT NULL;
CREATE INDEX attempts_by_disposition ON attempts (disposition, id) WHERE disposition IS NOT NULL;
-- Answers by their time, which the abandon rules count.
CREATE INDEX attempts_answered ON attempts (campaign_id, answered_at_ms) WHERE answered_at_ms IS NOT NULL;
-- A callee in two lists has two contacts: the number finds the attempts of both.
CREATE INDEX attempts_by_number ON attempts (number, id);
INSERT INTO attempts (id, campaign_id, task_id, contact_id, number, ordinal, created_at_ms, answered_at_ms, connected_at_ms, abandoned_at_ms, agent_id, ended_at_ms, outcome, disposition, message, message_at_ms, owner, epoch, subject, debt)
  SELECT id, campaign_id, task_id, contact_id, number, ordinal, created_at_ms, answered_at_ms, connected_at_ms, abandoned_at_ms, agent_id, ended_at_ms, outcome, disposition, message, message_at_ms, owner, epoch, subject, debt FROM kept;
DROP TABLE kept;

CREATE TABLE kept AS SELECT * FROM recordings;
DROP TABLE recordings;
CREATE TABLE recordings (
  name           TEXT   NOT NULL PRIMARY KEY,
  attempt_id     BLOB   NOT NULL REFERENCES attempts (id),
  agent_id       BIGINT,
  pbx            TEXT   NOT NULL,
  state          TEXT   NOT NULL,
  asked_at_ms    BIGINT NOT NULL,
  started_at_ms  BIGINT,
  ended_at_ms    BIGINT,
  duration_ms    BIGINT,
  failure        TEXT
) WITHOUT ROWID;
CREATE INDEX recordings_by_attempt ON recordings (attempt_id);
INSERT INTO recordings (name, attempt_id, agent_id, pbx, state, asked_at_ms, started_at_ms, ended_at_ms, duration_ms, failure)
  SELECT name, attempt_id, agent_id, pbx, state, asked_at_ms, started_at_ms, ended_at_ms, duration_ms, failure FROM kept;
DROP TABLE kept;
