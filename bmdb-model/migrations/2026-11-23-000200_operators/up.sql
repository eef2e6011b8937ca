-- What people have done by hand: who, what and why, one row per act, written in the transaction that
-- does it. No foreign keys, and no retention: it outlives machines and sessions, and people write little.
-- Components add rows and read them; nobody but the owner may change or delete one (bmdb-model,
-- grants.rs). Components of the previous version leave it alone.
CREATE TABLE operator_action (
    action_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    machine_id uuid NULL,
    process text NULL,
    session_id uuid NULL,
    fence bigint NULL,
    verb text NOT NULL CHECK (verb ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$'),
    operator text NOT NULL CHECK (operator <> ''),
    reason text NULL CHECK (reason <> ''),
    details jsonb NULL CHECK (jsonb_typeof(details) = 'object'),
    -- Not now(): an act may have waited for a lock, and is listed among attempts, which end by this clock.
    acted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Default privileges give components more (bmdb-model, grants.rs): not even for a moment.
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bmdb_component') THEN
        REVOKE UPDATE, DELETE ON operator_action FROM bmdb_component;
    END IF;
END $$;
CREATE INDEX operator_action_machine ON operator_action (machine_id, acted_at, action_id)
    WHERE machine_id IS NOT NULL;
CREATE INDEX operator_action_session ON operator_action (session_id, acted_at, action_id)
    WHERE session_id IS NOT NULL;

-- Lists of backoffs, by process and time. What is held is left out: it is listed as work, and a claim
-- makes no entry here.
CREATE INDEX work_item_backoff ON work_item (process, backoff_until, machine_id)
    WHERE backoff_until IS NOT NULL AND session_id IS NULL;

-- Machines on which a process fails or is lost so often that somebody should look. The only home of
-- what "poisoned" means; the index has the same condition.
CREATE VIEW work_poisoned AS
    SELECT machine_id, process, failures, losses
    FROM work_item WHERE losses >= 3 OR failures >= 10;
CREATE INDEX work_item_poisoned ON work_item (machine_id, process)
    WHERE losses >= 3 OR failures >= 10;

-- Lists of sessions, by age. Heartbeats do not change it, so they stay HOT. Not with the session's id:
-- of a table so small the planner would as soon look that up here as in the primary key.
CREATE INDEX sessions_created ON sessions (session_created_at);
