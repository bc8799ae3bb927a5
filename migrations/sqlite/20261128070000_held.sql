-- Contacts that the gate makes wait one by one, or has denied, with the rule that decided: they are asked about again when its datum
-- changes.
ALTER TABLE task_contacts ADD COLUMN held_by TEXT;
CREATE INDEX task_contacts_held ON task_contacts (task_id, contact_id) WHERE held_by IS NOT NULL;
UPDATE task_contacts SET held_by = 'suppressed' WHERE state = 'done' AND last_outcome = 'blocked';
-- While the held contacts of a task are looked at again: because of what ('lists' or 'rules'), and the last one that was.
ALTER TABLE tasks ADD COLUMN recheck TEXT;
ALTER TABLE tasks ADD COLUMN rechecked_to BIGINT;
CREATE INDEX tasks_rechecked ON tasks (id) WHERE recheck IS NOT NULL;
-- The rules and settings by which the gate was asked last.
ALTER TABLE campaigns ADD COLUMN gate_fingerprint TEXT;
-- Entries that end: their numbers may be called from then on.
CREATE INDEX dnc_by_end ON dnc (expires_at_ms, id) WHERE expires_at_ms IS NOT NULL;
