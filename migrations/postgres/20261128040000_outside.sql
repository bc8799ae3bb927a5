-- The outside check: the last answer of the service for each number. At most one row for each number of a contact.
CREATE TABLE outside_answers (
  number          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  verdict         TEXT   NOT NULL,
  line            TEXT,                      -- the kind of line, if the service knows it
  reason          TEXT   NOT NULL,           -- the service's words, without numbers
  evidence        TEXT,                      -- the service's id of the answer
  answered_at_ms  BIGINT NOT NULL,
  expires_at_ms   BIGINT NOT NULL            -- the answer counts before this time
);
CREATE INDEX outside_answers_by_expiry ON outside_answers (expires_at_ms);

-- The state of the service: one row, or none if the configuration names no service.
CREATE TABLE outside_service (
  one       BIGINT NOT NULL PRIMARY KEY CONSTRAINT outside_service_once CHECK (one = 1),
  since_ms  BIGINT,                          -- since when it has not answered; none: it answers
  because   TEXT                             -- why numbers without an answer are called meanwhile; none: they are not called
);
