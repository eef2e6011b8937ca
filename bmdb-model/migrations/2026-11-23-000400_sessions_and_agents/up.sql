-- What a session did, the attempt that began last first. Not by when they ended: that changes with every
-- failure of a streak, which this index leaves where it is while it is the same session that fails.
CREATE INDEX work_attempt_session ON work_attempt (session_id, fence);

-- A backoff ends at a time that every client can read: what never ends is a hold (`machine_hold`), which
-- says who wants it and why. bmdb writes no other, so this is about what was written by hand.
UPDATE work_item SET backoff_until = least(greatest(backoff_until, '0001-01-02 00:00:00Z'), '9999-12-31 00:00:00Z')
WHERE backoff_until < '0001-01-02 00:00:00Z' OR backoff_until > '9999-12-31 00:00:00Z';
ALTER TABLE work_item ADD CONSTRAINT work_item_backoff_ends
    CHECK (backoff_until BETWEEN '0001-01-02 00:00:00Z' AND '9999-12-31 00:00:00Z');

-- From when on an agent that says nothing more is taken for silent: the only home of these times. What is
-- recovered are those that are silent, but not on machines that are installed, whose agent may well be gone.
CREATE VIEW agent_silence AS
    SELECT p.machine_id, p.provider,
           coalesce(h.agent_heartbeat_at + interval '10 minutes',
                    s.agent_started_at + interval '30 minutes') AS silent_at
    FROM machine_provided p
    JOIN machine_agent_started s ON s.machine_id = p.machine_id
    LEFT JOIN machine_agent_heartbeat h ON h.machine_id = p.machine_id;

CREATE OR REPLACE VIEW workflow_agent_recovery AS
    SELECT a.machine_id, a.provider, a.silent_at AS ready_at
    FROM agent_silence a
    WHERE NOT EXISTS (SELECT 1 FROM os_installation_settled o
                      WHERE o.machine_id = a.machine_id AND o.os_installation_result = 'Success');
