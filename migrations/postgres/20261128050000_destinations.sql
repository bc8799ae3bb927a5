-- A callee can be connected to something that is no agent of Paceline.
ALTER TABLE attempts DROP CONSTRAINT agent_iff_connected;
ALTER TABLE recordings ALTER COLUMN agent_id DROP NOT NULL;
