-- The rules in force as the ledger has them, to record the next change only.
ALTER TABLE ledger_logs ADD COLUMN rules TEXT;
