-- Times are Unix milliseconds (UTC). Numbers are E.164. The PostgreSQL twin of this file says the same in its own types.
-- Tables that are looked up by their primary key are WITHOUT ROWID: one tree to write instead of two. What a call writes
-- decides what a call costs, so an index that only people's questions use must be worth what it costs each call.
-- Words (states, kinds, reasons) are those of the core's types, which check them. No CHECK here names a word: SQLite can change a
-- CHECK only by writing the whole table anew.
-- `owner` and `epoch` are for several nodes on one store: which node drives this row, and in which of its runs. One node is 0, 0.
-- This file is frozen: it has made databases that hold data. A change of the schema is a new file with its date as its number.

-- One row: the mark that this installation's channels on a PBX carry.
CREATE TABLE installation (
  one  INTEGER NOT NULL PRIMARY KEY CONSTRAINT installation_once CHECK (one = 1),
  id   BLOB NOT NULL
);

CREATE TABLE api_keys (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  name           TEXT    NOT NULL UNIQUE,
  salt           BLOB    NOT NULL,
  token_hmac     BLOB    NOT NULL,           -- HMAC-SHA256(salt, token)
  role           TEXT    NOT NULL,
  -- A key of the role `agent` acts for this agent only. No reference: a deleted agent's key is of no use, and stays listed.
  agent_id       BIGINT,
  sees_numbers   BOOLEAN NOT NULL,
  created_at_ms  BIGINT  NOT NULL,
  revoked_at_ms  BIGINT
);

-- Every request that changed something or was refused. It holds ids and nothing of what was sent, so no personal data.
CREATE TABLE audit (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms        BIGINT  NOT NULL,
  request_id   BLOB    NOT NULL,              -- under which the log has more
  api_key_id   BIGINT,                        -- none: no valid key came with it
  peer         TEXT,                          -- the address that it came from
  method       TEXT    NOT NULL,
  route        TEXT    NOT NULL,              -- the template of the path
  object       TEXT,                          -- the id in the path, or of what was made
  status       BIGINT  NOT NULL,
  refused      BOOLEAN NOT NULL,
  suppressed   BIGINT  NOT NULL DEFAULT 0     -- refusals since the last stored one that were too many to store
);
CREATE INDEX audit_by_key ON audit (api_key_id, id);
CREATE INDEX audit_by_refusal ON audit (refused, id);

-- AUTOINCREMENT where rows can be deleted: records keep the id, so it must never be given to another row.
CREATE TABLE trunks (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT NOT NULL UNIQUE,
  pbx        TEXT NOT NULL,
  dial       TEXT NOT NULL,
  caller_id  TEXT
);

-- PBXes in maintenance, by their configured names.
CREATE TABLE pbx_maintenance (
  pbx       TEXT   NOT NULL PRIMARY KEY,
  since_ms  BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE campaigns (
  id             INTEGER PRIMARY KEY,
  name           TEXT   NOT NULL UNIQUE,
  state          TEXT   NOT NULL,
  settings       TEXT   NOT NULL,            -- JSON, see the API's campaign schema
  created_at_ms  BIGINT NOT NULL
);

CREATE TABLE campaign_trunks (
  campaign_id  BIGINT NOT NULL REFERENCES campaigns (id),
  position     BIGINT NOT NULL,
  trunk_id     BIGINT NOT NULL REFERENCES trunks (id),
  PRIMARY KEY (campaign_id, position),
  CONSTRAINT campaign_trunk_once UNIQUE (campaign_id, trunk_id)
) WITHOUT ROWID;
CREATE INDEX campaign_trunks_by_trunk ON campaign_trunks (trunk_id);

CREATE TABLE contact_lists (
  id               INTEGER PRIMARY KEY,
  name             TEXT   NOT NULL,
  -- True until the import that makes the list is published; until then the list is not shown.
  importing        BOOLEAN NOT NULL DEFAULT FALSE,
  created_at_ms    BIGINT NOT NULL
);

-- An import of a contact file into a list. Its contacts are shown once it is published, which changes this row only.
CREATE TABLE imports (
  id               INTEGER PRIMARY KEY AUTOINCREMENT,
  list_id          BIGINT  REFERENCES contact_lists (id), -- none once its contacts are cleared away
  makes_list       BOOLEAN NOT NULL,
  state            TEXT    NOT NULL,
  worker           BLOB,                       -- who reads it; whoever is not named here stages nothing
  alive_at_ms      BIGINT  NOT NULL,          -- the worker's last sign of life
  file_sha256      BLOB    NOT NULL,          -- it is resumed with the same file only
  settings         TEXT    NOT NULL,          -- JSON: how the file is read
  shape            TEXT    NOT NULL,          -- JSON: what was found in it, for people
  done_permille    BIGINT  NOT NULL DEFAULT 0,
  rows_read        BIGINT  NOT NULL DEFAULT 0,
  rejected         BIGINT  NOT NULL DEFAULT 0,
  listed           BIGINT  NOT NULL DEFAULT 0, -- rows of contacts that were in the list before
  numbers_left     BIGINT  NOT NULL DEFAULT 0, -- further numbers that were left out, as another contact of the list has them
  imported         BIGINT,                    -- contacts; counted when all is staged
  filled           BIGINT,                    -- contacts that the list had before and that gain something; counted likewise
  repairs          TEXT    NOT NULL DEFAULT '{}', -- JSON: how many cells, by what was repaired
  numbers          TEXT    NOT NULL DEFAULT '{}', -- JSON: how many rows were taken, by country and kind of their number
  failure          TEXT,                      -- why it failed, without personal data
  created_at_ms    BIGINT  NOT NULL,
  published_at_ms  BIGINT
);
-- Imports whose contacts are not shown yet.
CREATE INDEX imports_unseen ON imports (id) WHERE state IN ('running', 'stopped', 'staged', 'clearing');

CREATE TABLE import_rejects (
  import_id  BIGINT NOT NULL REFERENCES imports (id),
  line       BIGINT NOT NULL,
  field      TEXT,                            -- none where it is the whole row
  reason     TEXT   NOT NULL,
  PRIMARY KEY (import_id, line)
) WITHOUT ROWID;

-- A contact may have several numbers and tags; they have tables of their own.
CREATE TABLE contacts (
  id           INTEGER PRIMARY KEY,
  list_id      BIGINT NOT NULL, -- of contact_lists, and of imports below; references would cost an import a look-up a row
  import_id    BIGINT NOT NULL DEFAULT 0, -- 0: not from a file
  external_id  TEXT,
  name         TEXT,
  time_zone    TEXT,
  tier         BIGINT,                      -- 1, which is called first, to 9
  language     TEXT,                        -- BCP 47
  country      TEXT,                        -- ISO 3166-1 alpha-2
  state        TEXT,
  postal_code  TEXT,
  consents     TEXT,                        -- JSON list; the gate reads all of a contact's at once
  attributes   TEXT   NOT NULL DEFAULT '{}' -- JSON object of strings
);
CREATE INDEX contacts_by_list ON contacts (list_id, id, import_id);
CREATE UNIQUE INDEX contacts_by_external_id ON contacts (list_id, external_id) WHERE external_id IS NOT NULL;

-- A contact has at least one number; they are dialed in the order of `position`. `import_id` is the import that added the
-- number: it is not shown until that import is published, also where the contact itself is shown.
CREATE TABLE contact_numbers (
  contact_id  BIGINT NOT NULL,
  position    BIGINT NOT NULL,
  list_id     BIGINT NOT NULL,              -- the contact's
  import_id   BIGINT NOT NULL DEFAULT 0,
  number      TEXT NOT NULL,
  kind        TEXT,                         -- by the number plan; none where nobody asked it
  label       TEXT,                         -- what the file or system that it is from calls it
  PRIMARY KEY (contact_id, position),
  -- This order also serves the search for a number in all lists.
  CONSTRAINT contact_number_once_per_list UNIQUE (number, list_id)
) WITHOUT ROWID;

CREATE TABLE contact_tags (
  contact_id  BIGINT NOT NULL,
  tag         TEXT NOT NULL,
  list_id     BIGINT NOT NULL,              -- the contact's
  PRIMARY KEY (contact_id, tag)
) WITHOUT ROWID;
CREATE INDEX contact_tags_by_tag ON contact_tags (list_id, tag, contact_id);

-- What an import's rows add to contacts that are stored already. It is filled in once the import is published, and then
-- deleted here. New numbers are in contact_numbers from the start.
CREATE TABLE import_fills (
  import_id    BIGINT NOT NULL REFERENCES imports (id),
  contact_id   BIGINT NOT NULL,
  list_id      BIGINT NOT NULL,             -- the contact's
  external_id  TEXT,
  time_zone    TEXT,
  contact      TEXT   NOT NULL,             -- JSON: all of it
  attributes   TEXT   NOT NULL,             -- JSON object of strings
  PRIMARY KEY (import_id, contact_id)
) WITHOUT ROWID;
CREATE INDEX import_fills_by_external_id ON import_fills (list_id, external_id) WHERE external_id IS NOT NULL;

-- Contacts and numbers that may be seen and called: all but those of imports that are not published.
CREATE VIEW seen_contacts AS SELECT id, list_id, external_id, name, time_zone, tier, language, country, state, postal_code, consents,
    attributes FROM contacts
  WHERE import_id NOT IN (SELECT id FROM imports WHERE state IN ('running', 'stopped', 'staged', 'clearing'));
CREATE VIEW seen_numbers AS SELECT contact_id, position, list_id, number, kind, label FROM contact_numbers
  WHERE import_id NOT IN (SELECT id FROM imports WHERE state IN ('running', 'stopped', 'staged', 'clearing'));

CREATE TABLE tasks (
  id               INTEGER PRIMARY KEY,
  campaign_id      BIGINT NOT NULL REFERENCES campaigns (id),
  list_id          BIGINT NOT NULL REFERENCES contact_lists (id),
  name             TEXT   NOT NULL,
  state            TEXT   NOT NULL,
  start_at_ms      BIGINT NOT NULL,
  retries_max      BIGINT NOT NULL,
  -- Not later than the earliest of its buckets, so that a lease reads only tasks that may have a contact due.
  next_due_at_ms   BIGINT NOT NULL,
  prepared_to      BIGINT,                    -- while it is prepared: the last contact that was taken from the list
  idempotency_key  TEXT,
  request_hash     BLOB,
  created_at_ms    BIGINT NOT NULL,
  CONSTRAINT idempotency_key_once UNIQUE (idempotency_key),
  CONSTRAINT request_hash_iff_key CHECK ((idempotency_key IS NULL) = (request_hash IS NULL))
);
CREATE INDEX tasks_by_campaign ON tasks (campaign_id, id);
CREATE INDEX tasks_by_list ON tasks (list_id, id);
CREATE INDEX tasks_running ON tasks (campaign_id, next_due_at_ms, id) WHERE state = 'running';
CREATE INDEX tasks_preparing ON tasks (id) WHERE state = 'preparing';
CREATE INDEX tasks_scheduled ON tasks (campaign_id, start_at_ms) WHERE state = 'scheduled';
CREATE INDEX tasks_paused ON tasks (campaign_id, start_at_ms) WHERE state = 'paused';

-- The contacts of a task by time zone, because the gate's rules of time look at nothing else. A wait is stored once for the
-- whole bucket, however many contacts it has.
CREATE TABLE task_buckets (
  id              INTEGER PRIMARY KEY,
  task_id         BIGINT NOT NULL REFERENCES tasks (id),
  time_zone       TEXT   NOT NULL,            -- the contacts' own; empty where the campaign's holds
  -- No ready contact of the bucket can be leased before this. It may be earlier than the true time, never later.
  next_due_at_ms  BIGINT NOT NULL,
  -- The gate's last deferral: when it was decided, until when it holds, and its reasons (words, comma-separated).
  waits_from_ms   BIGINT,
  waits_until_ms  BIGINT,
  wait_reasons    TEXT,
  CONSTRAINT task_bucket_once UNIQUE (task_id, time_zone),
  CONSTRAINT wait_whole CHECK ((waits_from_ms IS NULL) = (waits_until_ms IS NULL) AND (waits_from_ms IS NULL) = (wait_reasons IS NULL))
);
CREATE INDEX task_buckets_due ON task_buckets (task_id, next_due_at_ms);

-- One row for each contact of a task. A contact is leased exactly while its number is in number_leases.
CREATE TABLE task_contacts (
  task_id        BIGINT NOT NULL REFERENCES tasks (id),
  contact_id     BIGINT NOT NULL, -- of the task's list; as a reference it would need an index to delete a contact by
  bucket_id      BIGINT NOT NULL, -- of the task
  state          TEXT   NOT NULL,
  due_at_ms      BIGINT NOT NULL,
  attempts_made  BIGINT NOT NULL DEFAULT 0, -- ended attempts
  tries_made     BIGINT NOT NULL DEFAULT 0, -- those of them that count against retries_max
  last_outcome   TEXT,
  PRIMARY KEY (task_id, contact_id)
) WITHOUT ROWID;
CREATE INDEX task_contacts_due ON task_contacts (bucket_id, due_at_ms, contact_id) WHERE state = 'ready';

-- The lock on a number: one contact of one task holds it. Few rows: contacts in hoppers, and calls in progress.
CREATE TABLE number_leases (
  number        TEXT   NOT NULL PRIMARY KEY,
  task_id       BIGINT NOT NULL,
  contact_id    BIGINT NOT NULL,
  leased_at_ms  BIGINT NOT NULL,
  owner         BIGINT NOT NULL DEFAULT 0,
  epoch         BIGINT NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE dnc (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  number       TEXT   NOT NULL UNIQUE,
  reason       TEXT   NOT NULL,
  added_at_ms  BIGINT NOT NULL
);

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
  agent_id         BIGINT,
  ended_at_ms      BIGINT,
  outcome          TEXT,
  disposition      TEXT,
  message          TEXT, -- to an abandoned callee
  message_at_ms    BIGINT,                   -- when the PBX was asked to play it
  owner            BIGINT NOT NULL DEFAULT 0,
  epoch            BIGINT NOT NULL DEFAULT 0,
  -- An ended attempt has an outcome; a live one has none.
  CONSTRAINT outcome_iff_ended CHECK ((ended_at_ms IS NULL) = (outcome IS NULL)),
  CONSTRAINT message_iff_played CHECK ((message IS NULL) = (message_at_ms IS NULL)),
  CONSTRAINT abandoned_after_answer CHECK (abandoned_at_ms IS NULL OR (answered_at_ms IS NOT NULL AND connected_at_ms IS NULL)),
  CONSTRAINT agent_iff_connected CHECK ((connected_at_ms IS NULL) = (agent_id IS NULL)),
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

CREATE TABLE legs (
  attempt_id      BLOB   NOT NULL REFERENCES attempts (id),
  id              BLOB   NOT NULL,             -- the channel id on the PBX
  pbx             TEXT   NOT NULL,
  trunk_id        BIGINT NOT NULL,
  created_at_ms   BIGINT NOT NULL,
  progress        TEXT,                        -- the first sign of life: a `Progress` of the core
  progress_at_ms  BIGINT,
  answered_at_ms  BIGINT,
  ended_at_ms     BIGINT,
  ended_by        TEXT,                        -- an `EndedBy` of the core
  q850            BIGINT,
  sip             BIGINT,
  detail          TEXT,
  CONSTRAINT ended_by_iff_ended CHECK ((ended_at_ms IS NULL) = (ended_by IS NULL)),
  -- This order appends new legs at one end; their ids are random and would spread the writes.
  PRIMARY KEY (attempt_id, id)
) WITHOUT ROWID;

CREATE TABLE gate_decisions (
  id          INTEGER PRIMARY KEY,
  at_ms       BIGINT NOT NULL,
  task_id     BIGINT NOT NULL,
  contact_id  BIGINT,                        -- none: the decision holds for all contacts of the bucket
  bucket_id   BIGINT,
  attempt_id  BLOB,                          -- set on the `allow` just before the originate
  stage       TEXT   NOT NULL,
  verdict     TEXT   NOT NULL,
  reasons     TEXT   NOT NULL,               -- the words, comma-separated
  until_ms    BIGINT,
  CONSTRAINT contact_or_bucket CHECK ((contact_id IS NULL) <> (bucket_id IS NULL))
);
CREATE INDEX gate_decisions_by_contact ON gate_decisions (contact_id, id) WHERE contact_id IS NOT NULL;
CREATE INDEX gate_decisions_by_bucket ON gate_decisions (bucket_id, id) WHERE bucket_id IS NOT NULL;

CREATE TABLE agents (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  name         TEXT    NOT NULL UNIQUE,
  pbx          TEXT    NOT NULL,
  extension    TEXT    NOT NULL,
  state        TEXT    NOT NULL DEFAULT 'offline',
  state_reason TEXT    NOT NULL DEFAULT 'never_logged_in', -- a word of the core
  state_at_ms  BIGINT  NOT NULL,
  campaign_id  BIGINT  REFERENCES campaigns (id), -- where logged in
  leg_id       BLOB,                              -- the ringing or held leg
  wants        TEXT   NOT NULL DEFAULT 'calls',
  owner        BIGINT NOT NULL DEFAULT 0,
  epoch        BIGINT NOT NULL DEFAULT 0,
  CONSTRAINT extension_once_per_pbx UNIQUE (pbx, extension)
);
CREATE INDEX agents_logged_in ON agents (campaign_id) WHERE campaign_id IS NOT NULL;

-- What pacing has learnt about calls over one PBX.
CREATE TABLE pacing_learnt (
  campaign_id   BIGINT NOT NULL REFERENCES campaigns (id),
  pbx           TEXT   NOT NULL,
  learnt        TEXT   NOT NULL,              -- JSON
  learnt_at_ms  BIGINT NOT NULL,
  PRIMARY KEY (campaign_id, pbx)
) WITHOUT ROWID;

CREATE TABLE recordings (
  name           TEXT   NOT NULL PRIMARY KEY,
  attempt_id     BLOB   NOT NULL REFERENCES attempts (id),
  agent_id       BIGINT NOT NULL,
  pbx            TEXT   NOT NULL,
  state          TEXT   NOT NULL,
  asked_at_ms    BIGINT NOT NULL,
  started_at_ms  BIGINT,
  ended_at_ms    BIGINT,
  duration_ms    BIGINT,
  failure        TEXT
) WITHOUT ROWID;
CREATE INDEX recordings_by_attempt ON recordings (attempt_id);
