ALTER TABLE agent_listening
    DROP CONSTRAINT agent_listening_since_is_past,
    DROP CONSTRAINT agent_listening_pause_is_short;
CREATE OR REPLACE VIEW agent_quiet AS
    SELECT p.machine_id, p.provider,
           coalesce(h.agent_heartbeat_at + interval '10 minutes',
                    s.agent_started_at + interval '30 minutes') AS quiet_at
    FROM machine_provided p
    JOIN machine_agent_started s ON s.machine_id = p.machine_id
    LEFT JOIN machine_agent_heartbeat h ON h.machine_id = p.machine_id;
