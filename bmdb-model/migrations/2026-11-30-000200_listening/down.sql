CREATE OR REPLACE VIEW agent_silence AS
    SELECT p.machine_id, p.provider,
           coalesce(h.agent_heartbeat_at + interval '10 minutes',
                    s.agent_started_at + interval '30 minutes') AS silent_at
    FROM machine_provided p
    JOIN machine_agent_started s ON s.machine_id = p.machine_id
    LEFT JOIN machine_agent_heartbeat h ON h.machine_id = p.machine_id;
DROP VIEW agent_quiet;
DROP FUNCTION assume_listening(text);
DROP FUNCTION observe_listening();
DROP VIEW agent_listener_alive;
DROP VIEW agent_listening_since;
DROP FUNCTION longest_gap();
DROP TABLE agent_listening;
DROP TABLE agent_listener;
