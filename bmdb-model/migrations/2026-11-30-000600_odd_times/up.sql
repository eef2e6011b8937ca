-- Times that somebody has written by SQL, years after 200,000 among them: a sum that leaves the range of a
-- timestamp is an error of every machine that the view lists. Such a time is as good as infinity.
CREATE OR REPLACE VIEW agent_quiet AS
    SELECT p.machine_id, p.provider,
           coalesce(CASE WHEN h.agent_heartbeat_at < '200000-01-01 00:00:00Z'
                         THEN h.agent_heartbeat_at + interval '10 minutes'
                         WHEN h.agent_heartbeat_at IS NOT NULL THEN timestamptz 'infinity' END,
                    CASE WHEN s.agent_started_at < '200000-01-01 00:00:00Z'
                         THEN s.agent_started_at + interval '30 minutes'
                         ELSE 'infinity' END) AS quiet_at
    FROM machine_provided p
    JOIN machine_agent_started s ON s.machine_id = p.machine_id
    LEFT JOIN machine_agent_heartbeat h ON h.machine_id = p.machine_id;

-- These rows are the components' own: what they compute with stays within a range in which nothing overflows.
UPDATE agent_listening
SET since = least(since, clock_timestamp()),
    pause = least(greatest(pause, interval '0 seconds'), interval '1 hour');
ALTER TABLE agent_listening
    ADD CONSTRAINT agent_listening_since_is_past CHECK (since < '200000-01-01 00:00:00Z'),
    ADD CONSTRAINT agent_listening_pause_is_short CHECK (pause BETWEEN interval '0 seconds' AND interval '1 hour');
