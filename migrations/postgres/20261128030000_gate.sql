-- The rules of regulators: buckets by place, attempts with what they were about, and reasons with their citations.
ALTER TABLE task_buckets RENAME COLUMN time_zone TO localities;
ALTER TABLE attempts ADD COLUMN subject TEXT;
ALTER TABLE attempts ADD COLUMN debt TEXT;
-- A callee in two lists has two contacts: the number finds the attempts of both.
CREATE INDEX attempts_by_number ON attempts (number, id);
UPDATE gate_decisions SET reasons = '[{"profile":"paceline","rule":"' || reasons || '","verdict":"' || verdict
  || '","citation":"","text":"' || reasons || '"}]';
UPDATE task_buckets SET wait_reasons = '[{"profile":"paceline","rule":"' || wait_reasons
  || '","verdict":"defer","citation":"","text":"' || wait_reasons || '"}]' WHERE wait_reasons IS NOT NULL;
