CREATE OR REPLACE VIEW workflow_agent_recovery AS
    SELECT p.machine_id, p.provider,
           coalesce(h.agent_heartbeat_at + interval '10 minutes',
                    s.agent_started_at + interval '30 minutes') AS ready_at
    FROM machine_provided p
    JOIN machine_agent_started s ON s.machine_id = p.machine_id
    LEFT JOIN machine_agent_heartbeat h ON h.machine_id = p.machine_id
    WHERE NOT EXISTS (SELECT 1 FROM os_installation_settled o
                      WHERE o.machine_id = p.machine_id AND o.os_installation_result = 'Success');
DROP VIEW agent_silence;
ALTER TABLE work_item DROP CONSTRAINT work_item_backoff_ends;
DROP INDEX work_attempt_session;
